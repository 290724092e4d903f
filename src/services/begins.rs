//! Where in the journal the services' own lines begin, so that it is looked for once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::names::ServiceId;

/// How long it is not looked for again where the journal doesn't hold it: that look goes through all of its files.
const AGAIN: Duration = Duration::from_secs(60);

/// What was found, and when.
type Found = (Option<String>, Instant);

/// A cursor a service, of those whose log was read; none where the journal had none. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Begins {
    known: Arc<Mutex<HashMap<ServiceId, Found>>>,
}

impl Begins {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<ServiceId, Found>) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// That of the service with this row; none where it is to be looked for.
    pub(super) fn of(&self, service: ServiceId) -> Option<Option<String>> {
        let (begin, since) = self.with(|known| known.get(&service).cloned())?;
        (begin.is_some() || since.elapsed() < AGAIN).then_some(begin)
    }

    /// It is this one, or the journal has none.
    pub(super) fn note(&self, service: ServiceId, cursor: Option<String>) {
        self.with(|known| known.insert(service, (cursor, Instant::now())));
    }

    /// The service is gone.
    pub(super) fn forget(&self, service: ServiceId) {
        self.with(|known| known.remove(&service));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_the_journal_does_not_hold_is_looked_for_now_and_then() {
        let (begins, service) = (Begins::default(), ServiceId(1));
        assert_eq!(begins.of(service), None);
        begins.note(service, None);
        assert_eq!(begins.of(service), Some(None), "each reader would have all of the journal read again");
        tokio::time::advance(AGAIN).await;
        assert_eq!(begins.of(service), None);
        begins.note(service, Some("c".into()));
        tokio::time::advance(AGAIN).await;
        assert_eq!(begins.of(service), Some(Some("c".into())));
    }
}
