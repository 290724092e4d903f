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
    /// What is under way, and how to cancel it.
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

    fn begin(&self, service: &ServiceName, id: DeploymentId) -> CancellationToken {
        let token = CancellationToken::new();
        self.with(|slots| {
            if let Some(slot) = slots.get_mut(service) {
                slot.current = Some((id, token.clone()));
            }
        });
        token
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
                    sleep(pauses.next()).await;
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
        self.inner.slots.end(service);
        carried?;
        match self.parts().store.deployment(id).await {
            Ok(row) if !row.state.is_final() => Err(StoreError::Unfinished(id.0)),
            Ok(_) | Err(StoreError::NoDeployment(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}
