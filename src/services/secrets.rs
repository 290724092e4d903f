//! Podman's secrets that nothing names any more: values that were set anew, and what an agent that died between a secret and
//! the row that names it has left.

use std::collections::{BTreeMap, HashSet};

use super::{ServiceError, Services};
use crate::names::{EnvValue, SecretName, ServiceName};
use crate::podman::PodmanError;
use crate::store::{Service, Source, StoreError};

impl Services {
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
