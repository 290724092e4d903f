//! How many builds run at once, over the agent's own restarts too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::names::DeploymentId;

/// A build may run as long as this lives.
#[derive(Debug)]
pub struct BuildPermit {
    permit: Option<OwnedSemaphorePermit>,
}

/// The permits of builds.
#[derive(Debug)]
pub struct BuildPermits {
    free: Arc<Semaphore>,
    all: Mutex<usize>,
    /// Those of builds that an agent before this one began, until their deployments go on.
    kept: Mutex<HashMap<DeploymentId, OwnedSemaphorePermit>>,
}

impl BuildPermits {
    pub(super) fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), all: Mutex::new(all), kept: Mutex::default() }
    }

    /// Waits for a permit, where none is kept for this deployment.
    pub async fn take(&self, id: DeploymentId) -> BuildPermit {
        let permit = match self.give_up(id) {
            Some(BuildPermit { permit }) => permit,
            // It is never closed.
            None => self.free.clone().acquire_owned().await.ok(),
        };
        BuildPermit { permit }
    }

    pub(super) fn keep(&self, id: DeploymentId) {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(id, permit);
        }
    }

    /// Keeps no permit for this deployment any longer.
    pub(super) fn give_up(&self, id: DeploymentId) -> Option<BuildPermit> {
        let permit = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)?;
        Some(BuildPermit { permit: Some(permit) })
    }

    /// Makes it `wanted` permits. Those in use are taken away as they come back.
    pub fn resize(&self, wanted: usize) {
        let before = std::mem::replace(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner), wanted);
        if wanted >= before {
            return self.free.add_permits(wanted - before);
        }
        let (free, less) = (self.free.clone(), u32::try_from(before - wanted).unwrap_or(u32::MAX));
        tokio::spawn(async move {
            if let Ok(permits) = free.acquire_many(less).await {
                permits.forget();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_build_that_went_on_comes_before_one_that_waits() {
        let permits = BuildPermits::new(1);
        permits.keep(DeploymentId(1));
        assert!(timeout(SOON, permits.take(DeploymentId(2))).await.is_err());
        let permit = timeout(SOON, permits.take(DeploymentId(1))).await.unwrap();
        assert!(timeout(SOON, permits.take(DeploymentId(2))).await.is_err());
        drop(permit);
        assert!(timeout(SOON, permits.take(DeploymentId(2))).await.is_ok());
    }

    #[tokio::test]
    async fn a_deployment_that_ended_keeps_no_place() {
        let permits = BuildPermits::new(1);
        permits.keep(DeploymentId(1));
        permits.give_up(DeploymentId(1));
        assert!(timeout(SOON, permits.take(DeploymentId(2))).await.is_ok());
    }

    #[tokio::test]
    async fn places_come_and_go_with_the_configuration() {
        let permits = BuildPermits::new(1);
        permits.resize(2);
        let first = permits.take(DeploymentId(1)).await;
        let second = permits.take(DeploymentId(2)).await;
        permits.resize(1);
        drop(first);
        tokio::task::yield_now().await;
        assert!(timeout(SOON, permits.take(DeploymentId(3))).await.is_err());
        drop(second);
        assert!(timeout(SOON, permits.take(DeploymentId(3))).await.is_ok());
    }
}
