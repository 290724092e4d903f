//! The environment of a service: its variables' keys, and the Podman secrets that hold their values.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::services::find_kept;
use super::{Store, StoreError, json, parse};
use crate::names::{DeploymentId, EnvKey, EnvValue, ServiceId, ServiceName};

/// A service's variables, and where their values lie.
pub type EnvSecrets = BTreeMap<EnvKey, EnvValue>;

pub(super) fn read(connection: &Connection, service: ServiceId) -> Result<EnvSecrets, StoreError> {
    let mut statement = connection.prepare_cached("SELECT key, secret FROM env WHERE service = ?1")?;
    let mut rows = statement.query([service])?;
    let mut env = EnvSecrets::new();
    while let Some(row) = rows.next()? {
        env.insert(parse(&row.get::<_, String>(0)?, "env key")?, parse(&row.get::<_, String>(1)?, "env value")?);
    }
    Ok(env)
}

/// Another environment for a service, made from the one that it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvChange {
    /// What it was made from.
    pub before: EnvSecrets,
    /// What it is to be.
    pub after: EnvSecrets,
}

/// Somebody sets the environment: what is under way and would bring another brings none any more. It is refused where another
/// was brought or set since this one was made of what was there.
pub(super) fn set(transaction: &Transaction<'_>, service: ServiceId, change: &EnvChange) -> Result<(), StoreError> {
    if read(transaction, service)? != change.before {
        return Err(StoreError::EnvChanged);
    }
    transaction.execute(
        "UPDATE deployments SET brings_env = 0 WHERE service = ?1 AND brings_env AND finished IS NULL",
        [service],
    )?;
    if change.after == change.before { Ok(()) } else { replace(transaction, service, &change.after) }
}

/// The service gets the environment of the release that a deployment has made live, where it shall.
pub(super) fn bring(transaction: &Transaction<'_>, deployment: DeploymentId) -> Result<(), StoreError> {
    let sql = "SELECT d.service, r.env FROM deployments d JOIN releases r ON r.service = d.service \
               AND r.number = d.release WHERE d.id = ?1 AND d.brings_env";
    let brought = transaction
        .prepare_cached(sql)?
        .query_row([deployment.0], |row| Ok((row.get::<_, ServiceId>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    match brought {
        Some((service, env)) => replace(transaction, service, &json(&env, "env")?),
        None => Ok(()),
    }
}

fn replace(transaction: &Transaction<'_>, service: ServiceId, env: &EnvSecrets) -> Result<(), StoreError> {
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

    /// The same by the service's row, be it one that is being removed.
    pub async fn env_of(&self, service: ServiceId) -> Result<EnvSecrets, StoreError> {
        self.read(move |connection| read(connection, service)).await
    }

    /// Replaces the variables for the service's next release, without a deployment.
    pub async fn set_env(&self, name: &ServiceName, change: EnvChange) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(move |transaction| {
            let service = find_kept(transaction, &name)?;
            set(transaction, service.id, &change)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{new_service, release, start, store};
    use super::super::{Cause, DeploymentState, NewDeployment};
    use super::*;
    use crate::names::ReleaseNumber;

    #[tokio::test]
    async fn who_goes_back_has_the_old_environment_once_that_is_live_and_not_before() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let env = |key: &str| EnvSecrets::from([(key.parse().unwrap(), "".parse().unwrap())]);
        let now = async || store.env(&service.name).await.unwrap();
        let keys = async || now().await.into_keys().map(|key| key.to_string()).collect::<Vec<_>>();
        let set = async |key: &str| {
            let change = EnvChange { before: now().await, after: env(key) };
            store.set_env(&service.name, change).await.unwrap();
        };
        // Release 1 has no variable.
        let first = release(&store, &service, start("a")).await;
        store.finish(first.id, DeploymentState::Live, None, None).await.unwrap();
        set("NEW").await;
        let back = || NewDeployment { cause: Cause::Rollback, from_release: Some(ReleaseNumber(1)), ..start("a") };
        // One that another one supersedes, and one that fails, change nothing.
        store.request_deployment(back()).await.unwrap();
        let failed = release(&store, &service, back()).await;
        store.finish(failed.id, DeploymentState::Failed, None, None).await.unwrap();
        assert_eq!(keys().await, ["NEW"]);
        let live = release(&store, &service, back()).await;
        assert_eq!(keys().await, ["NEW"]);
        let change = EnvChange { before: now().await, after: env("LATE") };
        store.finish(live.id, DeploymentState::Live, None, None).await.unwrap();
        assert!(keys().await.is_empty());
        // What was made of the variables from before is none of those that are there now.
        let late = NewDeployment { cause: Cause::Env, env: Some(change.clone()), ..start("a") };
        assert!(matches!(store.request_deployment(late).await, Err(StoreError::EnvChanged)));
        assert!(matches!(store.set_env(&service.name, change).await, Err(StoreError::EnvChanged)));
        assert!(keys().await.is_empty() && store.unfinished(&service.name).await.unwrap().is_empty());
        // What was set after it was asked for stays.
        let live = release(&store, &service, back()).await;
        set("NEWER").await;
        store.finish(live.id, DeploymentState::Live, None, None).await.unwrap();
        assert_eq!(keys().await, ["NEWER"]);
        // Be it what was there already.
        let live = release(&store, &service, back()).await;
        set("NEWER").await;
        store.finish(live.id, DeploymentState::Live, None, None).await.unwrap();
        assert_eq!(keys().await, ["NEWER"]);
    }
}
