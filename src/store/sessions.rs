//! Signed-in sessions, each only as a hash of the cookie's value.

use jiff::Timestamp;
use rusqlite::{Params, params};

use super::tokens::{Grant, MINUTE, SecretHash};
use super::{Store, StoreError, micros, time};

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its row.
    pub id: i64,
    /// The token that it was signed in with.
    pub token: String,
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
}

impl Store {
    /// Keeps a new session. Those that have ended go.
    pub async fn create_session(
        &self,
        hash: SecretHash,
        token: i64,
        expires: Timestamp,
        client: String,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let now = micros(Timestamp::now());
            transaction.execute("DELETE FROM sessions WHERE expires <= ?1", [now])?;
            transaction.execute(
                "INSERT INTO sessions (hash, token, created, last_seen, expires, client) VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
                params![hash.as_slice(), token, now, micros(expires), client],
            )?;
            Ok(())
        })
        .await
    }

    /// The session with this hash, where it has not ended.
    pub async fn session(&self, hash: SecretHash) -> Result<Option<Session>, StoreError> {
        let now = micros(Timestamp::now());
        let found = self
            .read(move |connection| {
                let mut all =
                    sessions(connection, "WHERE s.hash = ?1 AND s.expires > ?2", params![hash.as_slice(), now])?;
                Ok(all.pop())
            })
            .await?;
        if let Some(session) = &found
            && micros(session.last_seen) < now - MINUTE
        {
            let id = session.id;
            self.write(move |transaction| {
                transaction.execute("UPDATE sessions SET last_seen = ?2 WHERE id = ?1", params![id, now])?;
                Ok(())
            })
            .await?;
        }
        Ok(found)
    }

    /// The session of this row, where it has not ended.
    pub async fn session_by_id(&self, id: i64) -> Result<Option<Session>, StoreError> {
        let now = micros(Timestamp::now());
        self.read(move |connection| Ok(sessions(connection, "WHERE s.id = ?1 AND s.expires > ?2", [id, now])?.pop()))
            .await
    }

    /// All sessions that have not ended, the newest first.
    pub async fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        let now = micros(Timestamp::now());
        self.read(move |connection| sessions(connection, "WHERE s.expires > ?1 ORDER BY s.id DESC LIMIT 1000", [now]))
            .await
    }

    /// Ends a session. False: there is none with this number.
    pub async fn remove_session(&self, id: i64) -> Result<bool, StoreError> {
        self.write(move |transaction| Ok(transaction.execute("DELETE FROM sessions WHERE id = ?1", [id])? > 0)).await
    }
}

fn sessions(connection: &rusqlite::Connection, rest: &str, args: impl Params) -> Result<Vec<Session>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT s.id, t.name, t.scope, v.name, s.created, s.last_seen, s.expires, s.client FROM sessions s \
         JOIN tokens t ON t.id = s.token LEFT JOIN services v ON v.id = t.service {rest}"
    ))?;
    let mut rows = statement.query(args)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(Session {
            id: row.get(0)?,
            token: row.get(1)?,
            grant: Grant::read(&row.get::<_, String>(2)?, row.get(3)?)?,
            created: time(row.get(4)?, "created")?,
            last_seen: time(row.get(5)?, "last_seen")?,
            expires: time(row.get(6)?, "expires")?,
            client: row.get(7)?,
        });
    }
    Ok(all)
}
