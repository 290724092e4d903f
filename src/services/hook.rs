//! A service's hook: its key, and what forges sent to it.

use super::{ServiceError, Services};
use crate::names::{HookKey, ServiceName};
use crate::problem::chain;
use crate::store::{HookDelivery, Service};

/// How many deliveries are shown.
const SHOWN: u32 = 50;

/// A key that nobody knows.
#[must_use]
pub fn new_hook_key() -> HookKey {
    loop {
        // Every fourth will do.
        if let Some(key) = HookKey::from_random(rand::random()) {
            return key;
        }
    }
}

impl Services {
    /// Gives a service's hook another key: `key`, or a new one. The old one is dead from then on.
    ///
    /// # Errors
    /// There is no such service, or nothing can be written.
    pub async fn rotate_hook(&self, name: &ServiceName, key: Option<HookKey>) -> Result<Service, ServiceError> {
        self.uses.store.set_hook_key(name, key.unwrap_or_else(new_hook_key)).await?;
        tracing::info!(service = %name, "the hook has a new key");
        Ok(self.uses.store.service(name).await?)
    }

    /// Notes that a delivery to a service showed no good key, for its owner. Nothing is waited for: how long the answer takes
    /// must not tell whether there is such a service.
    pub fn refuse_delivery(&self, service: &Service, sender: &'static str) {
        if self.refused.note(service.id, sender) {
            let this = self.clone();
            self.uses.queue.tasks().spawn(async move {
                tokio::time::sleep(this.uses.config.get().waits.refusals).await;
                this.keep_refused().await;
            });
        }
    }

    /// Writes down what was refused.
    async fn keep_refused(&self) {
        for (id, (sender, count)) in self.refused.take() {
            if let Err(error) = self.uses.store.refuse_deliveries(id, sender, count).await {
                tracing::warn!("deliveries with a wrong key are not written down: {}", chain(&error));
            }
        }
    }

    /// What forges sent to it, the newest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn deliveries(&self, service: &Service) -> Result<Vec<HookDelivery>, ServiceError> {
        self.keep_refused().await;
        Ok(self.uses.store.deliveries(service.id, SHOWN).await?)
    }
}
