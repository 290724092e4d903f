//! The environment of a service: its variables' keys, and the Podman secrets that hold their values.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};

use super::services::find_kept;
use super::{Store, StoreError, parse};
use crate::names::{EnvKey, EnvValue, ServiceName};

/// A service's variables, and where their values lie.
pub type EnvSecrets = BTreeMap<EnvKey, EnvValue>;

pub(super) fn read(connection: &Connection, service: i64) -> Result<EnvSecrets, StoreError> {
    let mut statement = connection.prepare_cached("SELECT key, secret FROM env WHERE service = ?1")?;
    let mut rows = statement.query([service])?;
    let mut env = EnvSecrets::new();
    while let Some(row) = rows.next()? {
        env.insert(parse(&row.get::<_, String>(0)?, "env key")?, parse(&row.get::<_, String>(1)?, "env value")?);
    }
    Ok(env)
}

pub(super) fn replace(transaction: &Transaction<'_>, service: i64, env: &EnvSecrets) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM env WHERE service = ?1", [service])?;
    for (key, value) in env {
        transaction.execute(
            "INSERT INTO env (service, key, secret) VALUES (?1, ?2, ?3)",
            params![service, key.as_str(), value.as_str()],
        )?;
    }
    Ok(())
}

impl Store {
    /// The variables for the service's next release.
    pub async fn env(&self, name: &ServiceName) -> Result<EnvSecrets, StoreError> {
        let name = name.clone();
        self.read(move |connection| read(connection, find_kept(connection, &name)?.id)).await
    }

    /// Replaces the variables for the service's next release, without a deployment.
    pub async fn set_env(&self, name: &ServiceName, env: EnvSecrets) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(move |transaction| {
            let service = find_kept(transaction, &name)?;
            replace(transaction, service.id, &env)
        })
        .await
    }
}
