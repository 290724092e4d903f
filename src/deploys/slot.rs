//! One slot a service: its deployments come one after the other, the oldest first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Deploys;
use super::pauses::Pauses;
use crate::names::{DeploymentId, ServiceName};
use crate::problem::chain;
use crate::store::StoreError;

/// How long a slot waits at first for a store that can't be read or written.
const SOON: Duration = Duration::from_secs(1);
/// And at most.
const LATE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Slot {
    /// Somebody asked for a deployment since the slot's task last looked.
    poked: bool,
    /// What is under way until its row has ended, also while it waits for the store, and how to cancel it.
    current: Option<(DeploymentId, CancellationToken)>,
}

/// The slots that have something to do.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Mutex<HashMap<ServiceName, Slot>>,
}

impl Slots {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<ServiceName, Slot>) -> T) -> T {
        f(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the service's slot has something to do.
    pub(super) fn busy(&self, service: &ServiceName) -> bool {
        self.with(|slots| slots.contains_key(service))
    }

    /// Asks what the service's slot does at the moment to end. False: nothing, or another deployment than `only`.
    pub(super) fn cancel(&self, service: &ServiceName, only: Option<DeploymentId>) -> bool {
        self.with(|slots| match slots.get(service).and_then(|slot| slot.current.as_ref()) {
            Some((id, token)) if only.is_none_or(|only| only == *id) => {
                token.cancel();
                true
            }
            _ => false,
        })
    }

    /// Notes that there is something to do; true where a task must begin to do it.
    fn poke(&self, service: &ServiceName) -> bool {
        self.with(|slots| match slots.get_mut(service) {
            Some(slot) => {
                slot.poked = true;
                false
            }
            None => {
                slots.insert(service.clone(), Slot::default());
                true
            }
        })
    }

    /// What cancels the deployment, which is the slot's next or is under way: one that was cancelled stays so however often it
    /// is begun.
    fn begin(&self, service: &ServiceName, id: DeploymentId) -> CancellationToken {
        self.with(|slots| {
            let Some(slot) = slots.get_mut(service) else { return CancellationToken::new() };
            match &slot.current {
                Some((current, token)) if *current == id => token.clone(),
                _ => slot.current.insert((id, CancellationToken::new())).1.clone(),
            }
        })
    }

    /// Waits for `pause`, or until what is under way is cancelled.
    async fn pause(&self, service: &ServiceName, pause: Duration) {
        let token = self.with(|slots| Some(slots.get(service)?.current.as_ref()?.1.clone()));
        match token.filter(|token| !token.is_cancelled()) {
            Some(token) => drop(token.run_until_cancelled(sleep(pause)).await),
            None => sleep(pause).await,
        }
    }

    fn end(&self, service: &ServiceName) {
        self.with(|slots| {
            if let Some(slot) = slots.get_mut(service) {
                slot.current = None;
            }
        });
    }

    /// Gives the slot up unless somebody asked for something in the meantime.
    fn leave(&self, service: &ServiceName) -> bool {
        self.with(|slots| match slots.get_mut(service) {
            Some(slot) if slot.poked => {
                slot.poked = false;
                false
            }
            _ => {
                slots.remove(service);
                true
            }
        })
    }
}

impl Deploys {
    /// Lets the service's slot look for what waits.
    pub(super) fn poke(&self, service: &ServiceName) {
        if self.inner.stopping.is_cancelled() || !self.inner.slots.poke(service) {
            return;
        }
        let (this, service) = (self.clone(), service.clone());
        self.inner.tasks.spawn(async move {
            let stopping = this.inner.stopping.clone();
            // What is dropped here is what a crash cuts off: the next agent goes on from the row.
            let _ = stopping.run_until_cancelled(this.work(&service)).await;
        });
    }

    async fn work(&self, service: &ServiceName) {
        let mut pauses = Pauses::new(SOON, LATE);
        let mut is_stuck = false;
        loop {
            match self.work_once(service).await {
                Ok(true) => {}
                Ok(false) => {
                    if self.inner.slots.leave(service) {
                        return;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_stuck, true) {
                        tracing::error!(service = %service, "its deployments wait for the store: {}", chain(&error));
                    }
                    self.inner.slots.pause(service, pauses.next()).await;
                    continue;
                }
            }
            is_stuck = false;
            pauses.reset();
        }
    }

    /// Carries out the oldest deployment that waits, to an end that its row tells; false: there is none.
    async fn work_once(&self, service: &ServiceName) -> Result<bool, StoreError> {
        let Some(deployment) = self.parts().store.unfinished(service).await?.into_iter().next() else {
            return Ok(false);
        };
        let id = deployment.id;
        let cancel = self.inner.slots.begin(service, id);
        let turn = self.inner.turns.hold(service).await;
        let carried = self.carry_out(deployment, cancel).await;
        drop(turn);
        carried?;
        match self.parts().store.deployment(id).await {
            Ok(row) if !row.state.is_final() => return Err(StoreError::Unfinished(id.0)),
            Ok(_) | Err(StoreError::NoDeployment(_)) => {}
            Err(error) => return Err(error),
        }
        self.inner.slots.end(service);
        Ok(true)
    }

    /// Cancels a deployment that has left the queue, whether or not its slot has come to it yet: only the slot may end its
    /// row, since something of it may run.
    pub(super) fn cancel_begun(&self, service: &ServiceName, id: DeploymentId) {
        self.poke(service);
        self.inner.slots.begin(service, id).cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_cancelled_stays_so_and_its_pause_ends() {
        let (slots, service) = (Slots::default(), "blog".parse().unwrap());
        assert!(slots.poke(&service));
        let first = slots.begin(&service, DeploymentId(1));
        // It could not be ended, and waits for the store.
        let pause = slots.pause(&service, Duration::MAX);
        let mut pause = std::pin::pin!(pause);
        assert!(futures_util::poll!(&mut pause).is_pending());
        assert!(!slots.cancel(&service, Some(DeploymentId(2))));
        assert!(slots.cancel(&service, Some(DeploymentId(1))));
        pause.await;
        assert!(first.is_cancelled() && slots.begin(&service, DeploymentId(1)).is_cancelled());
        // It waits again all the same, if the store still takes nothing.
        let mut pause = std::pin::pin!(slots.pause(&service, Duration::MAX));
        assert!(futures_util::poll!(&mut pause).is_pending());
        slots.end(&service);
        assert!(!slots.begin(&service, DeploymentId(3)).is_cancelled());
    }
}
