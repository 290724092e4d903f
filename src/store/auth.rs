//! API tokens and signed-in sessions, each only as a hash: who reads the store can't sign in with what it holds.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, micros, time};

/// The SHA-256 of a token or of a cookie's value.
pub type SecretHash = [u8; 32];

/// A token, without what it takes to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its row.
    pub id: i64,
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its row.
    pub id: i64,
    /// The token that it was signed in with.
    pub token: String,
    /// When it began.
    pub created: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// What the browser says of itself.
    pub client: String,
}

/// The times of use are written at most once a minute.
const MINUTE: i64 = 60_000_000;

impl Store {
    /// Keeps a new token.
    pub async fn create_token(&self, name: &str, hash: SecretHash) -> Result<Token, StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| {
            let taken = transaction
                .query_row("SELECT 1 FROM tokens WHERE name = ?1", [&name], |_| Ok(()))
                .optional()?
                .is_some();
            if taken {
                return Err(StoreError::TokenTaken(name));
            }
            let created = Timestamp::now();
            transaction.execute(
                "INSERT INTO tokens (name, hash, created) VALUES (?1, ?2, ?3)",
                params![name, hash.as_slice(), micros(created)],
            )?;
            Ok(Token { id: transaction.last_insert_rowid(), name, created, last_used: None })
        })
        .await
    }

    /// All tokens by name.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT id, name, created, last_used FROM tokens ORDER BY name LIMIT 1000")?;
            let mut rows = statement.query([])?;
            let mut tokens = Vec::new();
            while let Some(row) = rows.next()? {
                let last_used: Option<i64> = row.get(3)?;
                tokens.push(Token {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    created: time(row.get(2)?, "created")?,
                    last_used: last_used.map(|at| time(at, "last_used")).transpose()?,
                });
            }
            Ok(tokens)
        })
        .await
    }

    /// Removes a token, and with it the sessions that it signed in. False: there is none of this name.
    pub async fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| Ok(transaction.execute("DELETE FROM tokens WHERE name = ?1", [name])? > 0)).await
    }

    /// The token with this hash.
    pub async fn token(&self, hash: SecretHash) -> Result<Option<Token>, StoreError> {
        let found = self
            .read(move |connection| {
                let mut statement =
                    connection.prepare_cached("SELECT id, name, created, last_used FROM tokens WHERE hash = ?1")?;
                let row = statement
                    .query_row([hash.as_slice()], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, Option<i64>>(3)?))
                    })
                    .optional()?;
                row.map(|(id, name, created, last_used)| {
                    let last_used = last_used.map(|at| time(at, "last_used")).transpose()?;
                    Ok(Token { id, name, created: time(created, "created")?, last_used })
                })
                .transpose()
            })
            .await?;
        if let Some(token) = &found {
            let now = micros(Timestamp::now());
            if token.last_used.is_none_or(|at| micros(at) < now - MINUTE) {
                let id = token.id;
                self.write(move |transaction| {
                    transaction.execute("UPDATE tokens SET last_used = ?2 WHERE id = ?1", params![id, now])?;
                    Ok(())
                })
                .await?;
            }
        }
        Ok(found)
    }

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

fn sessions(
    connection: &rusqlite::Connection,
    rest: &str,
    args: impl rusqlite::Params,
) -> Result<Vec<Session>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT s.id, t.name, s.created, s.last_seen, s.expires, s.client FROM sessions s \
         JOIN tokens t ON t.id = s.token {rest}"
    ))?;
    let mut rows = statement.query(args)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(Session {
            id: row.get(0)?,
            token: row.get(1)?,
            created: time(row.get(2)?, "created")?,
            last_seen: time(row.get(3)?, "last_seen")?,
            expires: time(row.get(4)?, "expires")?,
            client: row.get(5)?,
        });
    }
    Ok(all)
}
