//! Deliveries with a wrong key that are not written down yet: anybody may send any number of them, and they are written all
//! at once now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::names::ServiceId;

/// Who sent last, and how many.
type Counted = (&'static str, u32);

/// Those of all services. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Refused {
    counted: Arc<Mutex<HashMap<ServiceId, Counted>>>,
}

impl Refused {
    /// Counts one; true: it is the first since they were taken.
    pub(super) fn note(&self, service: ServiceId, sender: &'static str) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = counted.is_empty();
        let (last, count) = counted.entry(service).or_insert((sender, 0));
        (*last, *count) = (sender, count.saturating_add(1));
        is_first
    }

    /// Takes them: they are whoever's who takes them.
    pub(super) fn take(&self) -> HashMap<ServiceId, Counted> {
        std::mem::take(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
