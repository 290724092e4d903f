//! Signed-in sessions, each only as a hash of the cookie's value.

use jiff::Timestamp;
use rusqlite::{Connection, Params, params};

use super::tokens::{Grant, MINUTE, SecretHash};
use super::{Store, StoreError, micros, parse, time};
use crate::names::{Actor, Excerpt, PasskeyName, Scope};

/// How many sessions there may be; those that were not seen for longest go for new ones.
const MOST: i64 = 1000;

/// What signed a browser in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedBy {
    /// A token, by its row.
    Token(i64),
    /// A passkey, by its row.
    Passkey(i64),
}

/// A session to be kept.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Of the cookie's value.
    pub hash: SecretHash,
    /// What signed it in.
    pub by: SignedBy,
    /// When it ends.
    pub expires: Timestamp,
    /// What the browser says of itself.
    pub client: Excerpt,
    /// Where it is.
    pub address: String,
    /// The session that the browser had until now. It ends.
    pub replaces: Option<SecretHash>,
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its row.
    pub id: i64,
    /// The token or the passkey that it was signed in with.
    pub actor: Actor,
    /// What it may do.
    pub grant: Grant,
    /// When it began.
    pub created: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// What the browser says of itself.
    pub client: String,
    /// Where it was last seen.
    pub address: String,
}

impl Store {
    /// Keeps a new session. Those that have ended go, as does the one that it takes the place of; whether any went is
    /// returned.
    pub async fn create_session(&self, new: NewSession, idle: i64) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let now = micros(Timestamp::now());
            let ended = "DELETE FROM sessions WHERE expires <= ?1 OR last_seen <= ?2 OR hash = ?3";
            let mut gone = transaction.execute(ended, params![now, now - idle, new.replaces.map(|hash| hash.to_vec())])?;
            gone += transaction.execute(
                "DELETE FROM sessions WHERE id NOT IN (SELECT id FROM sessions ORDER BY last_seen DESC LIMIT ?1)",
                [MOST - 1],
            )?;
            let (token, passkey) = match new.by {
                SignedBy::Token(id) => (Some(id), None),
                SignedBy::Passkey(id) => (None, Some(id)),
            };
            transaction.execute(
                "INSERT INTO sessions (hash, token, passkey, created, last_seen, expires, client, address) \
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7)",
                params![
                    new.hash.as_slice(),
                    token,
                    passkey,
                    now,
                    micros(new.expires),
                    new.client.as_str(),
                    new.address
                ],
            )?;
            Ok(gone > 0)
        })
        .await
    }

    /// The session with this hash, where it has not ended; it was seen now, at `address`.
    pub async fn session(&self, hash: SecretHash, idle: i64, address: String) -> Result<Option<Session>, StoreError> {
        let now = micros(Timestamp::now());
        let found = self.read(move |connection| {
            let rest = "WHERE s.hash = ?1 AND s.expires > ?2 AND s.last_seen > ?3";
            Ok(sessions(connection, rest, params![hash.as_slice(), now, now - idle])?.pop())
        });
        let found = found.await?;
        if let Some(session) = &found
            && micros(session.last_seen) < now - MINUTE
        {
            let id = session.id;
            let seen = self.write(move |transaction| {
                let sql = "UPDATE sessions SET last_seen = ?2, address = ?3 WHERE id = ?1";
                transaction.execute(sql, params![id, now, address])?;
                Ok(())
            });
            // Who is signed in stays so on a full disk: they are the ones who make room.
            let _ = seen.await;
        }
        Ok(found)
    }

    /// The session of this row, where it has not ended.
    pub async fn session_by_id(&self, id: i64, idle: i64) -> Result<Option<Session>, StoreError> {
        let now = micros(Timestamp::now());
        let rest = "WHERE s.id = ?1 AND s.expires > ?2 AND s.last_seen > ?3";
        self.read(move |connection| Ok(sessions(connection, rest, [id, now, now - idle])?.pop())).await
    }

    /// All sessions that have not ended, the newest first.
    pub async fn sessions(&self, idle: i64) -> Result<Vec<Session>, StoreError> {
        let now = micros(Timestamp::now());
        let rest = "WHERE s.expires > ?1 AND s.last_seen > ?2 ORDER BY s.id DESC";
        self.read(move |connection| sessions(connection, rest, [now, now - idle])).await
    }

    /// Ends a session. False: there is none with this number.
    pub async fn remove_session(&self, id: i64) -> Result<bool, StoreError> {
        self.write(move |transaction| Ok(transaction.execute("DELETE FROM sessions WHERE id = ?1", [id])? > 0)).await
    }

    /// Ends all sessions but `kept`.
    pub async fn remove_sessions(&self, kept: Option<i64>) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM sessions WHERE id IS NOT ?1", [kept])?;
            Ok(())
        })
        .await
    }
}

fn sessions(connection: &Connection, rest: &str, args: impl Params) -> Result<Vec<Session>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT s.id, t.name, t.scope, v.name, p.name, s.created, s.last_seen, s.expires, s.client, s.address \
         FROM sessions s LEFT JOIN tokens t ON t.id = s.token LEFT JOIN passkeys p ON p.id = s.passkey \
         LEFT JOIN services v ON v.id = t.service {rest}"
    ))?;
    let mut rows = statement.query(args)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let (actor, grant) = match (row.get::<_, Option<String>>(1)?, row.get::<_, Option<String>>(4)?) {
            (Some(token), None) => {
                (Actor::Token(parse(&token, "name")?), Grant::read(&row.get::<_, String>(2)?, row.get(3)?)?)
            }
            // A passkey is the administrator's.
            (None, Some(passkey)) => {
                (Actor::Passkey(PasskeyName::kept(&passkey)), Grant { scope: Scope::Admin, service: None })
            }
            _ => return Err(StoreError::Corrupt { what: "session" }),
        };
        all.push(Session {
            id: row.get(0)?,
            actor,
            grant,
            created: time(row.get(5)?, "created")?,
            last_seen: time(row.get(6)?, "last_seen")?,
            expires: time(row.get(7)?, "expires")?,
            client: row.get(8)?,
            address: row.get(9)?,
        });
    }
    Ok(all)
}
