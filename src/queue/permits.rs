//! How many builds run at once, over the agent's own restarts too.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::names::DeploymentId;

/// A build may run as long as this lives.
#[derive(Debug)]
pub struct BuildPermit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The permits of builds.
#[derive(Debug)]
pub struct BuildPermits {
    free: Arc<Semaphore>,
    all: Mutex<usize>,
    /// Those of builds that an agent before this one began, until their deployments go on.
    kept: Mutex<HashMap<DeploymentId, OwnedSemaphorePermit>>,
    /// Which wait for one.
    waiting: Mutex<BTreeSet<DeploymentId>>,
}

/// A deployment that waits for a permit, for as long as this lives.
struct Waiting<'a>(&'a BuildPermits, DeploymentId);

impl<'a> Waiting<'a> {
    fn begin(permits: &'a BuildPermits, id: DeploymentId) -> Self {
        permits.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Self(permits, id)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl BuildPermits {
    pub(super) fn new(all: usize) -> Self {
        let (kept, waiting) = (Mutex::default(), Mutex::default());
        Self { free: Arc::new(Semaphore::new(all)), all: Mutex::new(all), kept, waiting }
    }

    /// Waits for a permit, where none is kept for this deployment. Where it must wait it says so first, with how many builds
    /// run at once.
    pub async fn take(&self, id: DeploymentId, say: impl FnOnce(usize)) -> BuildPermit {
        if let Some(kept) = self.give_up(id) {
            return kept;
        }
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return BuildPermit { _permit: Some(permit) };
        }
        let _waiting = Waiting::begin(self, id);
        say(self.all());
        // It is never closed.
        BuildPermit { _permit: self.free.clone().acquire_owned().await.ok() }
    }

    /// How many builds run at once, where this deployment waits for one of them to end.
    #[must_use]
    pub fn waited_for_by(&self, id: DeploymentId) -> Option<usize> {
        let waits = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).contains(&id);
        waits.then(|| self.all())
    }

    fn all(&self) -> usize {
        *self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, id: DeploymentId) {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(id, permit);
        }
    }

    /// Keeps no permit for this deployment any longer.
    pub(super) fn give_up(&self, id: DeploymentId) -> Option<BuildPermit> {
        let permit = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)?;
        Some(BuildPermit { _permit: Some(permit) })
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
        assert!(timeout(SOON, permits.take(DeploymentId(2), |_| ())).await.is_err());
        let permit = timeout(SOON, permits.take(DeploymentId(1), |_| ())).await.unwrap();
        assert!(timeout(SOON, permits.take(DeploymentId(2), |_| ())).await.is_err());
        drop(permit);
        assert!(timeout(SOON, permits.take(DeploymentId(2), |_| ())).await.is_ok());
    }

    #[tokio::test]
    async fn a_deployment_that_ended_keeps_no_place() {
        let permits = BuildPermits::new(1);
        permits.keep(DeploymentId(1));
        permits.give_up(DeploymentId(1));
        assert!(timeout(SOON, permits.take(DeploymentId(2), |_| ())).await.is_ok());
    }

    #[tokio::test]
    async fn places_come_and_go_with_the_configuration() {
        let permits = BuildPermits::new(1);
        permits.resize(2);
        let first = permits.take(DeploymentId(1), |_| ()).await;
        let second = permits.take(DeploymentId(2), |_| ()).await;
        permits.resize(1);
        drop(first);
        tokio::task::yield_now().await;
        assert!(timeout(SOON, permits.take(DeploymentId(3), |_| ())).await.is_err());
        drop(second);
        assert!(timeout(SOON, permits.take(DeploymentId(3), |_| ())).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_says_so_once_and_is_known_for_as_long_as_it_does() {
        let permits = BuildPermits::new(1);
        let permit = permits.take(DeploymentId(1), |_| panic!("it need not wait")).await;
        let mut said = Vec::new();
        {
            let mut waiting = std::pin::pin!(permits.take(DeploymentId(2), |all| said.push(all)));
            assert!(futures_util::poll!(&mut waiting).is_pending());
            assert_eq!([1, 2].map(|id| permits.waited_for_by(DeploymentId(id))), [None, Some(1)]);
            // Whoever is cancelled waits no more.
        }
        assert_eq!((permits.waited_for_by(DeploymentId(2)), said), (None, vec![1]));
        drop(permit);
        permits.take(DeploymentId(2), |_| panic!("it need not wait")).await;
    }
}
