//! Where in the journal the services' own lines begin, so that it is looked for once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::names::ServiceId;

/// A cursor a service, of those whose log was read. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Begins {
    known: Arc<Mutex<HashMap<ServiceId, String>>>,
}

impl Begins {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<ServiceId, String>) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// That of the service with this row.
    pub(super) fn of(&self, service: ServiceId) -> Option<String> {
        self.with(|known| known.get(&service).cloned())
    }

    /// It is this one.
    pub(super) fn note(&self, service: ServiceId, cursor: String) {
        self.with(|known| known.insert(service, cursor));
    }

    /// The service is gone.
    pub(super) fn forget(&self, service: ServiceId) {
        self.with(|known| known.remove(&service));
    }
}
