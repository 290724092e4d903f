//! One slot a service: its deployments come one after the other, the oldest first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::names::{DeploymentId, ServiceName};

#[derive(Debug, Default)]
struct Slot {
    /// Somebody works for it.
    is_taken: bool,
    /// Somebody asked for a deployment since whoever works for it last looked.
    is_poked: bool,
    /// What is under way until its row has ended, also while it waits for the store.
    current: Option<DeploymentId>,
    /// What cancels those that were begun, or that somebody cancelled before that.
    cancels: HashMap<DeploymentId, CancellationToken>,
}

/// The slots that have something to do.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Mutex<HashMap<ServiceName, Slot>>,
    ring: Notify,
}

impl Slots {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<ServiceName, Slot>) -> T) -> T {
        f(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_busy(&self, service: &ServiceName) -> bool {
        self.with(|slots| slots.contains_key(service))
    }

    /// What is under way of the service.
    pub(super) fn current(&self, service: &ServiceName) -> Option<DeploymentId> {
        self.with(|slots| slots.get(service)?.current)
    }

    pub(super) fn poke(&self, service: &ServiceName) {
        self.with(|slots| slots.entry(service.clone()).or_default().is_poked = true);
        self.ring.notify_one();
    }

    /// There is one who asks for it, again and again: a ring that comes while nobody waits is heard by the next.
    pub(super) async fn next(&self) -> ServiceName {
        loop {
            let free = self.with(|slots| {
                let (name, slot) = slots.iter_mut().find(|(_, slot)| !slot.is_taken)?;
                (slot.is_taken, slot.is_poked) = (true, false);
                Some(name.clone())
            });
            match free {
                Some(name) => return name,
                None => self.ring.notified().await,
            }
        }
    }

    /// Asks this deployment to end, where the slot has begun it.
    pub(super) fn cancel(&self, service: &ServiceName, id: DeploymentId) -> bool {
        self.with(|slots| {
            let slot = slots.get(service).filter(|slot| slot.current == Some(id));
            let token = slot.and_then(|slot| slot.cancels.get(&id));
            token.inspect(|token| token.cancel()).is_some()
        })
    }

    /// Lets this deployment, which has left the queue, end as soon as the slot comes to it, be that now or later.
    pub(super) fn cancel_when_begun(&self, service: &ServiceName, id: DeploymentId) {
        self.with(|slots| {
            let slot = slots.entry(service.clone()).or_default();
            slot.is_poked = true;
            slot.cancels.entry(id).or_default().cancel();
        });
        self.ring.notify_one();
    }

    pub(super) fn begin(&self, service: &ServiceName, id: DeploymentId) -> CancellationToken {
        self.with(|slots| {
            let Some(slot) = slots.get_mut(service) else { return CancellationToken::new() };
            slot.current = Some(id);
            slot.cancels.entry(id).or_default().clone()
        })
    }

    pub(super) async fn pause(&self, service: &ServiceName, pause: Duration) {
        let token = self.with(|slots| {
            let slot = slots.get(service)?;
            slot.cancels.get(slot.current.as_ref()?).cloned()
        });
        match token.filter(|token| !token.is_cancelled()) {
            Some(token) => drop(token.run_until_cancelled(sleep(pause)).await),
            None => sleep(pause).await,
        }
    }

    pub(super) fn forget(&self, service: &ServiceName, id: DeploymentId) {
        self.with(|slots| {
            if let Some(slot) = slots.get_mut(service) {
                slot.current = None;
                slot.cancels.remove(&id);
            }
        });
    }

    pub(super) fn leave(&self, service: &ServiceName) -> bool {
        self.with(|slots| match slots.get_mut(service) {
            Some(slot) if slot.is_poked => {
                slot.is_poked = false;
                false
            }
            _ => {
                slots.remove(service);
                true
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_cancelled_stays_so_and_its_pause_ends() {
        let (slots, service) = (Slots::default(), "blog".parse().unwrap());
        slots.poke(&service);
        assert_eq!(slots.next().await, service);
        let first = slots.begin(&service, DeploymentId(1));
        // It could not be ended, and waits for the store.
        let mut pause = std::pin::pin!(slots.pause(&service, Duration::MAX));
        assert!(futures_util::poll!(&mut pause).is_pending());
        assert!(!slots.cancel(&service, DeploymentId(2)));
        assert!(slots.cancel(&service, DeploymentId(1)));
        pause.await;
        assert!(first.is_cancelled() && slots.begin(&service, DeploymentId(1)).is_cancelled());
        // It waits again all the same, if the store still takes nothing.
        let mut pause = std::pin::pin!(slots.pause(&service, Duration::MAX));
        assert!(futures_util::poll!(&mut pause).is_pending());
        slots.forget(&service, DeploymentId(1));
        assert!(!slots.begin(&service, DeploymentId(3)).is_cancelled());
    }

    #[tokio::test]
    async fn a_cancel_hits_the_deployment_that_it_names_and_no_other() {
        let (slots, service) = (Slots::default(), "blog".parse().unwrap());
        slots.poke(&service);
        assert_eq!(slots.next().await, service);
        let first = slots.begin(&service, DeploymentId(1));
        // The slot hasn't come to the second one yet.
        slots.cancel_when_begun(&service, DeploymentId(2));
        assert!(!first.is_cancelled());
        slots.forget(&service, DeploymentId(1));
        assert!(!slots.leave(&service), "somebody asked for something meanwhile");
        assert!(slots.begin(&service, DeploymentId(2)).is_cancelled());
    }

    #[tokio::test]
    async fn each_slot_is_worked_for_by_one_until_it_is_left() {
        let (slots, service) = (Slots::default(), "blog".parse().unwrap());
        slots.poke(&service);
        assert_eq!(slots.next().await, service);
        slots.poke(&service);
        let mut next = std::pin::pin!(slots.next());
        assert!(futures_util::poll!(&mut next).is_pending());
        assert!(!slots.leave(&service) && slots.leave(&service));
        slots.poke(&service);
        assert_eq!(next.await, service);
    }
}
