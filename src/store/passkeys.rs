//! Passkeys, and the enrolment links that let a browser make one without being signed in.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Params, Transaction, params};

use super::tokens::SecretHash;
use super::{Store, StoreError, json, micros, time, to_json};
use crate::names::{LinkId, PasskeyId, PasskeyName};

/// How long an enrolment link is good.
pub const LINK: SignedDuration = SignedDuration::from_mins(10);
const LINK_MICROS: i64 = LINK.as_secs() * 1_000_000;

/// The form that [`NewPasskey::key`] has now. A row of an older form is read as such by whoever changes this number.
const VERSION: i64 = 1;
/// How many passkeys there may be.
const MOST: i64 = 100;
/// How many enrolment links may be open at once; the oldest goes for a new one.
const LINKS: i64 = 16;

/// A passkey to be kept.
#[derive(Debug, Clone)]
pub struct NewPasskey {
    /// The credential's id, as the authenticator chose it.
    pub credential: Vec<u8>,
    /// The host that it was made for.
    pub rp_id: String,
    /// The name under which the authenticator knows its owner.
    pub user_handle: [u8; 16],
    /// What its owner calls it.
    pub name: PasskeyName,
    /// The public key and what else the verifier needs, as JSON.
    pub key: String,
    /// How the browser says that it is reached.
    pub transports: Vec<String>,
    /// How it stood when it was made.
    pub authenticator: AuthenticatorData,
}

/// What changes with each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticatorData {
    /// How often it was used, as the authenticator counts; 0 where it doesn't.
    pub counter: u32,
    /// Whether it may be copied to other devices.
    pub backup_eligible: bool,
    /// Whether it has been.
    pub backup_state: bool,
}

/// A passkey.
#[derive(Debug, Clone)]
pub struct Passkey {
    /// Its row.
    pub id: PasskeyId,
    /// The credential's id.
    pub credential: Vec<u8>,
    /// The host that it was made for.
    pub rp_id: String,
    /// The name under which the authenticator knows its owner.
    pub user_handle: [u8; 16],
    /// What its owner calls it.
    pub name: PasskeyName,
    /// The public key and what else the verifier needs, as JSON.
    pub key: String,
    /// How the browser says that it is reached.
    pub transports: Vec<String>,
    /// How it stands.
    pub authenticator: AuthenticatorData,
    /// When it was made.
    pub created: Timestamp,
    /// When it last signed somebody in.
    pub last_used: Option<Timestamp>,
}

impl Store {
    /// Keeps a new passkey. Where a link let its owner in, the link is used up by the same step, or nothing is kept.
    pub async fn create_passkey(&self, new: NewPasskey, link: Option<LinkId>) -> Result<Passkey, StoreError> {
        self.write(move |transaction| {
            let now = Timestamp::now();
            if let Some(link) = link {
                use_link(transaction, link, now)?;
            }
            let count: i64 = transaction.query_row("SELECT count(*) FROM passkeys", [], |row| row.get(0))?;
            if count >= MOST {
                return Err(StoreError::PasskeysFull);
            }
            let known = transaction
                .query_row("SELECT 1 FROM passkeys WHERE credential = ?1", [&new.credential], |_| Ok(()))
                .optional()?;
            if known.is_some() {
                return Err(StoreError::PasskeyKnown);
            }
            transaction.execute(
                "INSERT INTO passkeys (credential, rp_id, user_handle, name, version, key, transports, counter, \
                 backup_eligible, backup_state, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    new.credential,
                    new.rp_id,
                    new.user_handle.as_slice(),
                    new.name.as_str(),
                    VERSION,
                    new.key,
                    to_json(&new.transports, "transports")?,
                    new.authenticator.counter,
                    new.authenticator.backup_eligible,
                    new.authenticator.backup_state,
                    micros(now)
                ],
            )?;
            Ok(Passkey {
                id: PasskeyId(transaction.last_insert_rowid()),
                credential: new.credential,
                rp_id: new.rp_id,
                user_handle: new.user_handle,
                name: new.name,
                key: new.key,
                transports: new.transports,
                authenticator: new.authenticator,
                created: now,
                last_used: None,
            })
        })
        .await
    }

    /// All passkeys, the oldest first.
    pub async fn passkeys(&self) -> Result<Vec<Passkey>, StoreError> {
        self.read(|connection| passkeys(connection, "ORDER BY id", [])).await
    }

    /// The passkey with this credential id.
    pub async fn passkey(&self, credential: Vec<u8>) -> Result<Option<Passkey>, StoreError> {
        self.read(move |connection| Ok(passkeys(connection, "WHERE credential = ?1", [credential])?.pop())).await
    }

    /// Writes down that a passkey was used. False: it is gone, or it was used in the meantime and its counter is not
    /// what was verified against.
    pub async fn passkey_used(
        &self,
        id: PasskeyId,
        before: AuthenticatorData,
        after: AuthenticatorData,
        key: String,
    ) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let changed = transaction.execute(
                "UPDATE passkeys SET key = ?3, counter = ?4, backup_eligible = ?5, backup_state = ?6, last_used = ?7 \
                 WHERE id = ?1 AND counter = ?2",
                params![
                    id,
                    before.counter,
                    key,
                    after.counter,
                    after.backup_eligible,
                    after.backup_state,
                    micros(Timestamp::now())
                ],
            )?;
            Ok(changed > 0)
        })
        .await
    }

    /// Gives a passkey another name. False: there is none with this credential id.
    pub async fn rename_passkey(&self, credential: Vec<u8>, name: PasskeyName) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let sql = "UPDATE passkeys SET name = ?2 WHERE credential = ?1";
            Ok(transaction.execute(sql, params![credential, name.as_str()])? > 0)
        })
        .await
    }

    /// Removes a passkey and the sessions that it signed in; the last one stays. False: there is none with this
    /// credential id.
    pub async fn remove_passkey(&self, credential: Vec<u8>) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let removed = transaction.execute("DELETE FROM passkeys WHERE credential = ?1", [credential])? > 0;
            let left: i64 = transaction.query_row("SELECT count(*) FROM passkeys", [], |row| row.get(0))?;
            if removed && left == 0 { Err(StoreError::LastPasskey) } else { Ok(removed) }
        })
        .await
    }

    /// Keeps a new enrolment link. Those that have ended go.
    pub async fn create_link(&self, hash: SecretHash, expires: Timestamp) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM enrolment_links WHERE expires <= ?1", [micros(Timestamp::now())])?;
            transaction.execute(
                "DELETE FROM enrolment_links WHERE id NOT IN (SELECT id FROM enrolment_links ORDER BY id DESC LIMIT ?1)",
                [LINKS - 1],
            )?;
            let sql = "INSERT INTO enrolment_links (hash, expires) VALUES (?1, ?2)";
            transaction.execute(sql, params![hash.as_slice(), micros(expires)])?;
            Ok(())
        })
        .await
    }

    /// The row of the enrolment link with this hash, and when it ends; none where it has, or was used.
    pub async fn link(&self, hash: SecretHash) -> Result<Option<(LinkId, Timestamp)>, StoreError> {
        let now = micros(Timestamp::now());
        self.read(move |connection| {
            let sql = format!("SELECT id, expires FROM enrolment_links WHERE {GOOD_LINK} AND hash = ?3");
            let found = connection
                .query_row(&sql, params![now, now + LINK_MICROS, hash.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            found.map(|(id, expires)| Ok((id, time(expires, "expires")?))).transpose()
        })
        .await
    }
}

/// Which links are good, where it is ?1, and one that is made now ends at ?2: a clock that was set back makes none good for
/// longer.
const GOOD_LINK: &str = "expires > ?1 AND expires <= ?2";

fn use_link(transaction: &Transaction<'_>, link: LinkId, now: Timestamp) -> Result<(), StoreError> {
    let now = micros(now);
    let sql = format!("DELETE FROM enrolment_links WHERE {GOOD_LINK} AND id = ?3");
    match transaction.execute(&sql, params![now, now + LINK_MICROS, link])? {
        0 => Err(StoreError::LinkUsed),
        _ => Ok(()),
    }
}

fn passkeys(connection: &rusqlite::Connection, rest: &str, args: impl Params) -> Result<Vec<Passkey>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, credential, rp_id, user_handle, name, version, key, transports, counter, backup_eligible, \
         backup_state, created, last_used FROM passkeys {rest}"
    ))?;
    let mut rows = statement.query(args)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(5)? != VERSION {
            return Err(StoreError::Corrupt { what: "version" });
        }
        let last_used: Option<i64> = row.get(12)?;
        all.push(Passkey {
            id: row.get(0)?,
            credential: row.get(1)?,
            rp_id: row.get(2)?,
            user_handle: row.get(3)?,
            name: PasskeyName::kept(&row.get::<_, String>(4)?),
            key: row.get(6)?,
            transports: json(&row.get::<_, String>(7)?, "transports")?,
            authenticator: AuthenticatorData {
                counter: row.get(8)?,
                backup_eligible: row.get(9)?,
                backup_state: row.get(10)?,
            },
            created: time(row.get(11)?, "created")?,
            last_used: last_used.map(|at| time(at, "last_used")).transpose()?,
        });
    }
    Ok(all)
}
