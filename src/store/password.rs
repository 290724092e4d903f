//! The git password, as a PHC string.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, micros, time};

/// The git password's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitPassword {
    /// As a PHC string.
    pub phc: String,
    /// When it was set.
    pub changed: Timestamp,
}

/// How many networks are kept, and how long.
const NETWORKS: u32 = 64;
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

impl Store {
    /// Puts another git password in the place of the old one, and tells when that was. The networks that showed the old one
    /// are forgotten.
    pub async fn set_git_password(&self, phc: String) -> Result<Timestamp, StoreError> {
        self.write(move |transaction| {
            let changed = transaction.query_row(
                "INSERT INTO git_password (id, phc, changed) VALUES (1, ?1, ?2) \
                 ON CONFLICT (id) DO UPDATE SET phc = excluded.phc, changed = max(excluded.changed, changed + 1) \
                 RETURNING changed",
                params![phc, micros(Timestamp::now())],
                |row| row.get(0),
            )?;
            transaction.execute("DELETE FROM git_password_places", [])?;
            time(changed, "changed")
        })
        .await
    }

    /// The git password, where one was set.
    pub async fn git_password(&self) -> Result<Option<GitPassword>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT phc, changed FROM git_password")?;
            let row = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            row.map(|(phc, changed)| Ok(GitPassword { phc, changed: time(changed, "changed")? })).transpose()
        })
        .await
    }

    /// The git password that was set at `changed` came from this network.
    pub async fn git_password_came_from(&self, network: IpAddr, changed: Timestamp) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO git_password_places (network, seen) SELECT ?1, ?2 FROM git_password WHERE changed = ?3 \
                 ON CONFLICT (network) DO UPDATE SET seen = excluded.seen",
                params![network.to_string(), micros(Timestamp::now()), micros(changed)],
            )?;
            transaction.execute(
                "DELETE FROM git_password_places WHERE network NOT IN \
                 (SELECT network FROM git_password_places ORDER BY seen > ?2, seen DESC, network = ?3 DESC LIMIT ?1)",
                params![NETWORKS, micros(Timestamp::now()), network.to_string()],
            )?;
            Ok(())
        })
        .await
    }

    /// Whether the git password that was set at `changed` came from this network in the last months.
    pub async fn git_password_comes_from(&self, network: IpAddr, changed: Timestamp) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT 1 FROM git_password_places, git_password WHERE network = ?1 AND seen > ?2 AND changed = ?3",
            )?;
            let since = micros(Timestamp::now() - KEPT);
            Ok(statement.exists(params![network.to_string(), since, micros(changed)])?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_networks_that_showed_the_password_are_a_few_and_go_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        let network = |number: u32| IpAddr::from(number.to_be_bytes());
        let first = store.set_git_password("first".into()).await.unwrap();
        for number in 0..=NETWORKS {
            store.git_password_came_from(network(number), first).await.unwrap();
        }
        assert!(!store.git_password_comes_from(network(0), first).await.unwrap(), "the oldest");
        assert!(store.git_password_comes_from(network(1), first).await.unwrap());
        let second = store.set_git_password("second".into()).await.unwrap();
        store.git_password_came_from(network(2), first).await.unwrap();
        for number in 0..=NETWORKS {
            assert!(!store.git_password_comes_from(network(number), second).await.unwrap());
        }
    }
}
