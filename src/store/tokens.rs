//! API tokens, each only as a hash: who reads the store can't sign in with what it holds.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Params, Row, params};

use super::{Store, StoreError, micros, parse, time};
use crate::names::{Scope, ServiceName, TokenId, TokenName};

/// The SHA-256 of a token or of a cookie's value.
pub type SecretHash = [u8; 32];

/// What a credential may do, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What.
    pub scope: Scope,
    /// To this service only.
    pub service: Option<ServiceName>,
}

impl Grant {
    /// From the columns `scope` and `name` of its service.
    pub(super) fn read(scope: &str, service: Option<String>) -> Result<Self, StoreError> {
        let service = service.map(|name| parse(&name, "name")).transpose()?;
        Ok(Self { scope: parse(scope, "scope")?, service })
    }
}

/// A token, without what it takes to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its row.
    pub id: TokenId,
    /// What its owner calls it.
    pub name: TokenName,
    /// What it may do.
    pub grant: Grant,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
}

/// The times of use are written at most once a minute.
pub(super) const MINUTE: i64 = 60_000_000;

impl Store {
    /// Keeps a new token.
    pub async fn create_token(
        &self,
        name: TokenName,
        hash: SecretHash,
        grant: Grant,
        expires: Option<Timestamp>,
    ) -> Result<Token, StoreError> {
        self.write(move |transaction| {
            let taken = transaction
                .query_row("SELECT 1 FROM tokens WHERE name = ?1", [name.as_str()], |_| Ok(()))
                .optional()?
                .is_some();
            if taken {
                return Err(StoreError::TokenTaken(name.into()));
            }
            let service = match &grant.service {
                Some(service) => Some(super::services::find_kept(transaction, service)?.id),
                None => None,
            };
            let created = Timestamp::now();
            transaction.execute(
                "INSERT INTO tokens (name, hash, scope, service, created, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    name.as_str(),
                    hash.as_slice(),
                    grant.scope.as_str(),
                    service,
                    micros(created),
                    expires.map(micros)
                ],
            )?;
            Ok(Token { id: TokenId(transaction.last_insert_rowid()), name, grant, created, expires, last_used: None })
        })
        .await
    }

    /// All tokens by name, those too that have ended.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.read(|connection| tokens(connection, "ORDER BY t.name LIMIT 1000", [])).await
    }

    /// Removes a token, and with it the sessions that it signed in. False: there is none of this name.
    pub async fn remove_token(&self, name: &TokenName) -> Result<bool, StoreError> {
        let name = String::from(name.clone());
        self.write(move |transaction| Ok(transaction.execute("DELETE FROM tokens WHERE name = ?1", [name])? > 0)).await
    }

    /// The token with this hash, where it has not ended.
    pub async fn token(&self, hash: SecretHash) -> Result<Option<Token>, StoreError> {
        let now = micros(Timestamp::now());
        let found = self
            .read(move |connection| {
                let good = "WHERE t.hash = ?1 AND (t.expires IS NULL OR t.expires > ?2)";
                Ok(tokens(connection, good, params![hash.as_slice(), now])?.pop())
            })
            .await?;
        if let Some(token) = &found
            && token.last_used.is_none_or(|at| !(now - MINUTE..=now).contains(&micros(at)))
        {
            let id = token.id;
            let used = self.write(move |transaction| {
                transaction.execute("UPDATE tokens SET last_used = ?2 WHERE id = ?1", params![id, now])?;
                Ok(())
            });
            // It is good on a full disk, too: whoever has it makes room.
            let _ = used.await;
        }
        Ok(found)
    }

    /// The token of this row, where it has not ended.
    pub async fn token_by_id(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        let now = micros(Timestamp::now());
        self.read(move |connection| {
            let good = "WHERE t.id = ?1 AND (t.expires IS NULL OR t.expires > ?2)";
            Ok(tokens(connection, good, params![id, now])?.pop())
        })
        .await
    }
}

fn tokens(connection: &rusqlite::Connection, rest: &str, args: impl Params) -> Result<Vec<Token>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT t.id, t.name, t.scope, s.name, t.created, t.expires, t.last_used FROM tokens t \
         LEFT JOIN services s ON s.id = t.service {rest}"
    ))?;
    let mut rows = statement.query(args)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(token(row)?);
    }
    Ok(all)
}

fn token(row: &Row<'_>) -> Result<Token, StoreError> {
    let moment = |column: usize, what| -> Result<Option<Timestamp>, StoreError> {
        row.get::<_, Option<i64>>(column)?.map(|at| time(at, what)).transpose()
    };
    Ok(Token {
        id: row.get(0)?,
        name: parse(&row.get::<_, String>(1)?, "name")?,
        grant: Grant::read(&row.get::<_, String>(2)?, row.get(3)?)?,
        created: time(row.get(4)?, "created")?,
        expires: moment(5, "expires")?,
        last_used: moment(6, "last_used")?,
    })
}
