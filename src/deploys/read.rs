//! What is known of deployments and releases by their rows.

use super::Deploys;
use super::undo;
use crate::names::{DeploymentId, ReleaseNumber, ServiceName};
use crate::queue::WaitsFor;
use crate::services::ServiceError;
use crate::store::{Deployment, DeploymentPage, Release, StoreError};

/// The releases of a service that can be gone back to.
#[derive(Debug)]
pub struct Releases {
    /// Those that were live once and are kept, each with the deployment that made it live.
    pub releases: Vec<(Release, Deployment)>,
    /// The one with the traffic.
    pub current: Option<ReleaseNumber>,
    /// The one that a rollback without a number goes to.
    pub before: Option<ReleaseNumber>,
}

impl Deploys {
    /// A deployment.
    ///
    /// # Errors
    /// There is no such deployment, or the store can't be read.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Deployment, ServiceError> {
        Ok(self.uses().store.deployment(id).await?)
    }

    /// What a deployment waits for that is queued.
    #[must_use]
    pub fn waits_for(&self, deployment: &Deployment) -> Option<WaitsFor> {
        self.uses().queue.waits_for(deployment)
    }

    /// The service that a deployment is of; none where there is no such one.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn service_of(&self, id: DeploymentId) -> Result<Option<ServiceName>, ServiceError> {
        match self.uses().store.deployment(id).await {
            Ok(deployment) => Ok(Some(deployment.service)),
            Err(StoreError::NoDeployment(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A service's deployments, the newest first: `limit` of them, those before `before`.
    ///
    /// # Errors
    /// There is no such service, or the store can't be read.
    pub async fn of(
        &self,
        service: &ServiceName,
        before: Option<DeploymentId>,
        limit: u32,
    ) -> Result<DeploymentPage, ServiceError> {
        Ok(self.uses().store.deployments(service, before, limit).await?)
    }

    /// Whether the service has a release, which a deployment that failed has left as it was.
    pub async fn goes_on(&self, service: &ServiceName) -> bool {
        undo::goes_on(self.uses(), service).await
    }

    /// All deployments that have not ended.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn unfinished(&self) -> Result<Vec<Deployment>, ServiceError> {
        let mut unfinished = Vec::new();
        for service in self.uses().store.services().await? {
            unfinished.extend(self.uses().store.unfinished(&service.name).await?);
        }
        Ok(unfinished)
    }

    /// A service's releases that can be gone back to.
    ///
    /// # Errors
    /// There is no such service, or the store can't be read.
    pub async fn releases(&self, name: &ServiceName) -> Result<Releases, ServiceError> {
        let store = &self.uses().store;
        let service = store.service(name).await?;
        let (before, releases) = (store.release_before(service.id).await?, store.live_releases(service.id).await?);
        Ok(Releases { releases, current: service.current, before })
    }
}
