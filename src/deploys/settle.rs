//! What of a service's settings counts at once: its domains, and how many releases are kept.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::Deploys;
use crate::names::ServiceName;
use crate::problem::chain;
use crate::services::ServiceError;

/// The services for which somebody waits for a turn to bring them to what is wanted. Whoever waits reads the row after that,
/// so that one is enough for all changes until then.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    waiting: Mutex<HashSet<ServiceName>>,
}

impl Unsettled {
    fn with<T>(&self, f: impl FnOnce(&mut HashSet<ServiceName>) -> T) -> T {
        f(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Deploys {
    /// Brings the host to what the service's row says: now, or, where something of the service is under way, behind that,
    /// which is not waited for. What can't be done the regular look does.
    pub(super) async fn settle(&self, name: &ServiceName) {
        let turn = self.inner.turns.try_hold(name);
        let is_free = turn.is_some();
        if !is_free && !self.inner.unsettled.with(|waiting| waiting.insert(name.clone())) {
            return;
        }
        let (this, name) = (self.clone(), name.clone());
        let settling = self.inner.tasks.spawn(async move {
            let stopping = this.inner.stopping.clone();
            let settled = stopping.run_until_cancelled(async {
                let _turn = match turn {
                    Some(turn) => turn,
                    None => {
                        let turn = this.inner.turns.hold(&name).await;
                        this.inner.unsettled.with(|waiting| waiting.remove(&name));
                        turn
                    }
                };
                let service = this.parts().store.service(&name).await?;
                this.parts().reconcile(&service, false, async { Ok(()) }).await
            });
            match settled.await {
                None | Some(Ok(())) => {}
                Some(Err(ServiceError::Store(crate::store::StoreError::NoService(_)))) => {}
                Some(Err(error)) => {
                    tracing::warn!(service = %name, "its settings don't count everywhere yet: {}", chain(&error));
                    this.inner.untidy.set();
                }
            }
        });
        if is_free {
            // It fails only where it panics.
            let _ = settling.await;
        }
    }
}
