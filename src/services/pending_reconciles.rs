//! The services for which somebody waits for a turn to bring them to what is wanted.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::names::ServiceName;

/// Whoever waits reads the row after that, so that one is enough for all changes until then. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingReconciles {
    waiting: Arc<Mutex<HashSet<ServiceName>>>,
}

impl PendingReconciles {
    fn with<T>(&self, f: impl FnOnce(&mut HashSet<ServiceName>) -> T) -> T {
        f(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Somebody is to wait for this one; false where somebody does.
    pub(super) fn begin(&self, name: &ServiceName) -> bool {
        self.with(|waiting| waiting.insert(name.clone()))
    }

    /// Its turn has come.
    pub(super) fn end(&self, name: &ServiceName) {
        self.with(|waiting| waiting.remove(name));
    }
}
