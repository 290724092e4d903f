//! Podman's secrets that nothing names any more: values that were set anew, and what an agent that died between a secret and
//! the row that names it has left.

use std::collections::{BTreeMap, HashSet};

use tokio::sync::OwnedMutexGuard;

use super::{ServiceError, Services};
use crate::names::{EnvValue, SecretName, ServiceName};
use crate::podman::PodmanError;
use crate::store::{Service, Source, StoreError};

impl Services {
    /// Until this is dropped no secret of the service goes: for whoever reads what its variables are, and writes the row of a
    /// release that names them a moment later.
    pub async fn hold_secrets(&self, name: &ServiceName) -> OwnedMutexGuard<()> {
        self.env_locks.hold(name).await
    }

    /// Removes the secrets of `service` that neither its next release, nor a kept one, nor its source names.
    pub(super) async fn discard_unused_secrets(&self, service: &Service) -> Result<(), ServiceError> {
        let _held = self.env_locks.hold(&service.name).await;
        let named = self.named_secrets(service).await?;
        let secrets = self.uses.podman.secrets(&SecretName::prefix(&service.name)).await?;
        let unnamed = secrets.iter().filter(|secret| *secret.service() == service.name && !named.contains(secret));
        self.remove_secrets(unnamed).await
    }

    /// Removes the secrets of all services that nothing names. Those of one that can't be looked at keep no other.
    ///
    /// # Errors
    /// Podman or the store did not take part of it.
    pub async fn discard_nobodys_secrets(&self) -> Result<(), ServiceError> {
        let mut all: BTreeMap<ServiceName, Vec<SecretName>> = BTreeMap::new();
        for secret in self.uses.podman.secrets(SecretName::PREFIX).await? {
            all.entry(secret.service().clone()).or_default().push(secret);
        }
        let mut discarded = Ok(());
        for (name, secrets) in all {
            discarded = discarded.and(self.discard_unnamed(&name, &secrets).await);
        }
        discarded
    }

    /// Whoever makes a secret of a service holds its lock until a row names it.
    async fn discard_unnamed(&self, name: &ServiceName, secrets: &[SecretName]) -> Result<(), ServiceError> {
        let _held = self.env_locks.hold(name).await;
        let named = match self.uses.store.find_service(name).await {
            Ok(service) => self.named_secrets(&service).await?,
            // Releases that this store doesn't know may name them.
            Err(StoreError::NoService(_)) if self.is_left(name).await? => return Ok(()),
            Err(StoreError::NoService(_)) => HashSet::new(),
            Err(error) => return Err(error.into()),
        };
        self.remove_secrets(secrets.iter().filter(|secret| !named.contains(secret))).await
    }

    /// What of the secrets has a name in a row.
    async fn named_secrets(&self, service: &Service) -> Result<HashSet<SecretName>, ServiceError> {
        let secret = |value: EnvValue| value.secret().cloned();
        let mut named: HashSet<SecretName> =
            self.uses.store.env_of(service.id).await?.into_values().filter_map(secret).collect();
        for release in self.uses.store.releases(service.id).await? {
            named.extend(release.env.into_values().filter_map(secret));
        }
        if let Source::External { secret: Some(password), .. } = &service.source {
            named.insert(password.clone());
        }
        Ok(named)
    }

    async fn remove_secrets(&self, secrets: impl Iterator<Item = &SecretName> + Send) -> Result<(), ServiceError> {
        for secret in secrets {
            match self.uses.podman.remove_secret(secret).await {
                // Whoever looks next finds it again.
                Err(PodmanError::Full { .. }) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{answer, service, services};
    use super::*;
    use crate::names::EnvKey;
    use crate::store::EnvChange;

    #[tokio::test]
    async fn what_no_row_names_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let services = services(folder.path());
        let key: EnvKey = "KEY".parse().unwrap();
        let blog = service(&services, "blog").await;
        let secret = |name: &str, key: &EnvKey| SecretName::new(&name.parse().unwrap(), key);
        // The one that is set, one that was set before, that of a service whose agent died before its row, and one of a
        // service whose row is lost, and its release is not.
        let all =
            [secret("blog", &key), secret("blog", &key), secret("gone", &"URI".parse().unwrap()), secret("lost", &key)];
        let env = [(key, EnvValue::Secret(all[0].clone()))].into();
        services.uses.store.set_env(&blog.name, EnvChange { before: [].into(), after: env }).await.unwrap();
        std::fs::create_dir(folder.path().join("quadlets")).unwrap();
        std::fs::write(folder.path().join("quadlets/lost@1.container"), "").unwrap();
        let listed: Vec<String> =
            all.iter().map(|name| format!(r#"{{"ID":"x","Spec":{{"Name":"{name}"}}}}"#)).collect();
        let (listed, storage) = (format!("[{}]", listed.join(",")), folder.path().display().to_string());
        let asked = answer(folder.path(), move |_, path| match path.rsplit('/').next() {
            Some("info") => format!(r#"{{"store":{{"graphRoot":"{storage}"}}}}"#),
            Some(list) if list.starts_with("json") => listed.clone(),
            _ => String::new(),
        });
        services.discard_nobodys_secrets().await.unwrap();
        let mut removed: Vec<String> =
            asked.lock().unwrap().iter().filter(|asked| asked.starts_with("DELETE")).cloned().collect();
        removed.iter_mut().for_each(|asked| *asked = asked.rsplit('/').next().unwrap().to_owned());
        assert_eq!(removed, [all[1].as_str(), all[2].as_str()]);
    }

    #[tokio::test]
    async fn whoever_makes_a_secret_has_it_until_a_row_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let services = services(folder.path());
        let name: ServiceName = "blog".parse().unwrap();
        let held = services.hold_secrets(&name).await;
        let secret = SecretName::new(&name, &"URI".parse().unwrap());
        let mut discarding = std::pin::pin!(services.discard_unnamed(&name, std::slice::from_ref(&secret)));
        assert!(futures_util::poll!(&mut discarding).is_pending());
        drop(held);
    }
}
