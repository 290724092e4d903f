//! What of a service's settings counts at once: its domains, and how many releases are kept.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{ServiceError, Services};
use crate::names::ServiceName;
use crate::problem::chain;
use crate::store::StoreError;

/// The services for which somebody waits for a turn to bring them to what is wanted. Whoever waits reads the row after that,
/// so that one is enough for all changes until then.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsettled {
    waiting: Arc<Mutex<HashSet<ServiceName>>>,
}

impl Unsettled {
    fn with<T>(&self, f: impl FnOnce(&mut HashSet<ServiceName>) -> T) -> T {
        f(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Services {
    /// Brings the host to what the service's row says: now, or, where something of the service is under way, behind that,
    /// which is not waited for. What can't be done the regular look does.
    pub(super) async fn settle(&self, name: &ServiceName) {
        let turn = self.uses.queue.try_turn(name);
        let is_free = turn.is_some();
        if !is_free && !self.unsettled.with(|waiting| waiting.insert(name.clone())) {
            return;
        }
        let (this, name) = (self.clone(), name.clone());
        let settling = self.uses.queue.tasks().spawn(async move {
            let settled = async {
                let _turn = match turn {
                    Some(turn) => turn,
                    None => {
                        let turn = this.uses.queue.turn(&name).await;
                        this.unsettled.with(|waiting| waiting.remove(&name));
                        turn
                    }
                };
                let service = this.uses.store.service(&name).await?;
                this.reconcile(&service).await
            };
            match settled.await {
                Ok(()) | Err(ServiceError::Store(StoreError::NoService(_))) => {}
                Err(error) => {
                    tracing::warn!(service = %name, "its settings don't count everywhere yet: {}", chain(&error));
                    this.untidy.set();
                }
            }
        });
        if is_free {
            // It fails only where it panics.
            let _ = settling.await;
        }
    }
}
