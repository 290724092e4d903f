//! Signed-in sessions, each only as a hash of the cookie's value.

use jiff::Timestamp;
use rusqlite::{Connection, Params, params};

use super::tokens::{Grant, MINUTE, SecretHash};
use super::{Store, StoreError, micros, parse, time};
use crate::names::{Actor, Excerpt, PasskeyId, PasskeyName, Scope, SignInId, TokenId};

/// How many sessions there may be; those that were not seen for longest go for new ones.
const MOST: i64 = 1000;

/// What signed a browser in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedBy {
    /// A token, by its row.
    Token(TokenId),
    /// A passkey, by its row.
    Passkey(PasskeyId),
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
    pub id: SignInId,
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

/// Which sessions have not ended, where it is ?1, and one may be unused for ?2. A clock that was set back lets none live
/// longer than it could have from now on.
const GOOD: &str =
    "s.expires > ?1 AND s.last_seen > ?1 - ?2 AND s.last_seen <= ?1 + ?2 AND s.created - ?1 <= s.expires - s.created";

impl Store {
    /// Keeps a new session. Those that have ended go, as does the one that it takes the place of; whether any went is
    /// returned.
    pub async fn create_session(&self, new: NewSession, idle: i64) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let now = micros(Timestamp::now());
            let ended = "DELETE FROM sessions WHERE expires <= ?1 OR last_seen <= ?2 OR hash = ?3";
            let mut gone =
                transaction.execute(ended, params![now, now - idle, new.replaces.map(|hash| hash.to_vec())])?;
            // One that was seen later than now was not seen since the clock was set back.
            gone += transaction.execute(
                "DELETE FROM sessions WHERE id NOT IN \
                 (SELECT id FROM sessions ORDER BY last_seen > ?2, last_seen DESC, id DESC LIMIT ?1)",
                [MOST - 1, now],
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
            let rest = format!("WHERE {GOOD} AND s.hash = ?3");
            Ok(sessions(connection, &rest, params![now, idle, hash.as_slice()])?.pop())
        });
        let found = found.await?;
        if let Some(session) = &found
            && !(now - MINUTE..=now).contains(&micros(session.last_seen))
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
    pub async fn session_by_id(&self, id: SignInId, idle: i64) -> Result<Option<Session>, StoreError> {
        let now = micros(Timestamp::now());
        let rest = format!("WHERE {GOOD} AND s.id = ?3");
        self.read(move |connection| Ok(sessions(connection, &rest, params![now, idle, id])?.pop())).await
    }

    /// All sessions that have not ended, the newest first.
    pub async fn sessions(&self, idle: i64) -> Result<Vec<Session>, StoreError> {
        let now = micros(Timestamp::now());
        let rest = format!("WHERE {GOOD} ORDER BY s.id DESC");
        self.read(move |connection| sessions(connection, &rest, [now, idle])).await
    }

    /// Ends a session. False: there is none with this number.
    pub async fn remove_session(&self, id: SignInId) -> Result<bool, StoreError> {
        self.write(move |transaction| Ok(transaction.execute("DELETE FROM sessions WHERE id = ?1", [id])? > 0)).await
    }

    /// Ends all sessions but `kept`.
    pub async fn remove_sessions(&self, kept: Option<SignInId>) -> Result<(), StoreError> {
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    #[tokio::test]
    async fn a_clock_that_is_set_back_lengthens_no_session() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        let grant = Grant { scope: Scope::Read, service: None };
        let token = store.create_token("some".parse().unwrap(), [1; 32], grant, None).await.unwrap();
        let sign_in = async |hash: u8| {
            let new = NewSession {
                hash: [hash; 32],
                by: SignedBy::Token(token.id),
                expires: Timestamp::now() + SignedDuration::from_hours(2),
                client: Excerpt::of("a browser"),
                address: String::new(),
                replaces: None,
            };
            store.create_session(new, HOUR).await.unwrap();
        };
        // Signed in before the clock was set back by so much.
        let set_back = async |by: i64| {
            let sql = "UPDATE sessions SET created = created + ?1, last_seen = last_seen + ?1, expires = expires + ?1";
            store.write(move |transaction| Ok(transaction.execute(sql, [by])?)).await.unwrap();
        };
        let session = async || store.session([2; 32], HOUR, String::new()).await.unwrap();
        sign_in(2).await;
        set_back(HOUR / 2).await;
        assert!(session().await.is_some());
        assert!(session().await.unwrap().last_seen <= Timestamp::now(), "it was seen now");
        set_back(2 * HOUR).await;
        assert!(session().await.is_none() && store.sessions(HOUR).await.unwrap().is_empty());
        // Where there are too many, those that are new don't go first.
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                    INSERT INTO sessions (hash, token, created, last_seen, expires, client, address) \
                    SELECT randomblob(32), token, created, last_seen, expires, '', '' FROM sessions, n WHERE id = 1";
        store.write(move |transaction| Ok(transaction.execute(fill, [MOST])?)).await.unwrap();
        sign_in(3).await;
        sign_in(4).await;
        assert_eq!(store.sessions(HOUR).await.unwrap().len(), 2);
    }
}
