//! The git password, as a PHC string.

use jiff::Timestamp;
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

impl Store {
    /// Puts another git password in the place of the old one.
    pub async fn set_git_password(&self, phc: String) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT INTO git_password (id, phc, changed) VALUES (1, ?1, ?2) \
                 ON CONFLICT (id) DO UPDATE SET phc = excluded.phc, changed = max(excluded.changed, changed + 1)",
                params![phc, micros(Timestamp::now())],
            )?;
            Ok(())
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
}
