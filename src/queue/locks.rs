//! A lock a service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::names::ServiceName;

/// A lock a service, which lies there only while somebody holds it or waits for it.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    locks: Arc<StdMutex<HashMap<ServiceName, Weak<Mutex<()>>>>>,
}

impl Locks {
    /// Waits for the lock of `service` and holds it.
    pub async fn hold(&self, service: &ServiceName) -> OwnedMutexGuard<()> {
        self.of(service).lock_owned().await
    }

    /// Holds the lock of `service` unless somebody else does.
    #[must_use]
    pub fn try_hold(&self, service: &ServiceName) -> Option<OwnedMutexGuard<()>> {
        self.of(service).try_lock_owned().ok()
    }

    fn of(&self, service: &ServiceName) -> Arc<Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        let known = locks.get(service).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let lock = Arc::new(Mutex::new(()));
            locks.insert(service.clone(), Arc::downgrade(&lock));
            lock
        })
    }
}
