//! What is known of services by their rows.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{ServiceError, Services};
use crate::names::{EnvKey, ReleaseName, ServiceId, ServiceName};
use crate::store::{Deployment, Service, Settings, StoreError};
use crate::templates::Template;

impl Services {
    /// A service that isn't being removed.
    ///
    /// # Errors
    /// There is none, or the store can't be read.
    pub async fn service(&self, name: &ServiceName) -> Result<Service, ServiceError> {
        Ok(self.uses.store.service(name).await?)
    }

    /// A service that isn't being removed; none where there is no such one.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn find(&self, name: &ServiceName) -> Result<Option<Service>, ServiceError> {
        match self.uses.store.service(name).await {
            Ok(service) => Ok(Some(service)),
            Err(StoreError::NoService(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nobody has said, and no fetch has found, which branch of the service's repository is deployed.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn follows_head(&self, service: &Service) -> Result<bool, ServiceError> {
        Ok(self.uses.store.follows_head(service.id).await?)
    }

    /// All services, without those that are being removed.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn all(&self) -> Result<Vec<Service>, ServiceError> {
        let mut services = self.uses.store.services().await?;
        services.retain(|service| !service.desired.is_deleted());
        Ok(services)
    }

    /// The newest deployment of each service that has one, by the service's row.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn last_deployments(&self) -> Result<HashMap<ServiceId, Deployment>, ServiceError> {
        Ok(self.uses.store.last_deployments().await?)
    }

    /// What `podkeeper.toml` said in the commit of each service's current release, by the service's row, where it was there.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn repositories(&self) -> Result<HashMap<ServiceId, Settings>, ServiceError> {
        Ok(self.uses.store.current_repositories().await?)
    }

    /// The keys of the variables that are set.
    ///
    /// # Errors
    /// There is no such service, or the store can't be read.
    pub async fn env_keys(&self, name: &ServiceName) -> Result<Vec<EnvKey>, ServiceError> {
        Ok(self.uses.store.env(name).await?.into_keys().collect())
    }

    /// The variables that the image of the current release sets; none where there is no release.
    ///
    /// # Errors
    /// Podman does not answer.
    pub async fn image_env(&self, service: &Service) -> Result<BTreeMap<String, String>, ServiceError> {
        let Some(number) = service.current else { return Ok(BTreeMap::new()) };
        let image = self.uses.podman.image(&ReleaseName::new(&service.name, number).image()).await?;
        Ok(image.map_or_else(BTreeMap::new, |image| image.env.into_iter().collect()))
    }

    /// What a new service's repository can begin with.
    ///
    /// # Errors
    /// Their folder can't be read.
    pub async fn templates(&self) -> Result<Vec<Template>, ServiceError> {
        Ok(self.uses.templates.list().await?)
    }

    /// How long the journal may take to hold what was said.
    pub(super) fn patience(&self) -> Duration {
        self.uses.config.get().limits.journal
    }
}
