//! What of a service's settings counts at once: its domains, and how many releases are kept.

use super::{ServiceError, Services};
use crate::names::ServiceName;
use crate::problem::chain;
use crate::store::StoreError;

impl Services {
    /// Brings the host to what the service's row says: now, or, where something of the service is under way, behind that,
    /// which is not waited for. What can't be done maintenance does.
    pub(super) async fn settle(&self, name: &ServiceName) {
        let turn = self.uses.queue.try_turn(name);
        let is_free = turn.is_some();
        if !is_free && !self.pending_reconciles.begin(name) {
            return;
        }
        let (this, name) = (self.clone(), name.clone());
        let settling = self.uses.queue.tasks().spawn(async move {
            let settled = async {
                let _turn = match turn {
                    Some(turn) => turn,
                    None => {
                        let turn = this.uses.queue.turn(&name).await;
                        this.pending_reconciles.end(&name);
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
                    this.cleanup_flag.set();
                }
            }
        });
        if is_free {
            // It fails only where it panics.
            let _ = settling.await;
        }
    }
}
