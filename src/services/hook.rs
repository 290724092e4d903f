//! A service's hook: its key, and what forges sent to it.

use super::{ServiceError, Services};
use crate::names::{HookKey, ServiceName};
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

    /// What forges sent to it, the newest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn deliveries(&self, service: &Service) -> Result<Vec<HookDelivery>, ServiceError> {
        Ok(self.uses.store.deliveries(service.id, SHOWN).await?)
    }
}
