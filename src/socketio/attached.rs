//! The terminal sessions that a client watches, each with its window.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::names::SessionId;
use crate::problem::{Code, Problem};

/// How much is shown ahead of what the client has acknowledged.
const WINDOW: usize = 256 * 1024;

/// The sessions that a client watches.
#[derive(Debug, Clone, Default)]
pub(super) struct Attached {
    windows: Arc<Mutex<HashMap<SessionId, Arc<Window>>>>,
}

/// How much was sent of a session, and how much of that is acknowledged.
#[derive(Debug, Default)]
pub(super) struct Window {
    totals: Mutex<Totals>,
    room: Notify,
    pub(super) leaving: CancellationToken,
}

#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    acknowledged: u64,
}

impl Window {
    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` more may be sent.
    pub(super) async fn take(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        loop {
            let room = self.room.notified();
            {
                let mut totals = self.totals();
                let waiting = totals.sent - totals.acknowledged;
                if waiting == 0 || waiting.saturating_add(bytes) <= WINDOW as u64 {
                    totals.sent = totals.sent.saturating_add(bytes);
                    return;
                }
            }
            room.await;
        }
    }

    /// The client has shown `total` bytes so far. A later total holds the ones before it, so that none may be missed.
    pub(super) fn acknowledge(&self, total: u64) -> Result<(), Problem> {
        let mut totals = self.totals();
        if total > totals.sent {
            return Err(Problem::new(Code::BadRequest, "more is acknowledged than was sent"));
        }
        totals.acknowledged = totals.acknowledged.max(total);
        drop(totals);
        self.room.notify_one();
        Ok(())
    }
}

impl Attached {
    fn windows(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Window>>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch a session. Whoever watches it already begins anew, from its screen.
    pub(super) fn begin(&self, id: &SessionId) -> Arc<Window> {
        let window = Arc::<Window>::default();
        if let Some(before) = self.windows().insert(id.clone(), window.clone()) {
            before.leaving.cancel();
        }
        window
    }

    pub(super) fn end(&self, id: &SessionId, window: &Arc<Window>) {
        let mut windows = self.windows();
        if windows.get(id).is_some_and(|now| Arc::ptr_eq(now, window)) {
            windows.remove(id);
        }
    }

    pub(super) fn window(&self, id: &SessionId) -> Result<Arc<Window>, Problem> {
        let none =
            || Problem::new(Code::NotFound, "this connection does not watch that session").with_hint("attach first");
        self.windows().get(id).cloned().ok_or_else(none)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_window_has_room_for_what_is_acknowledged() {
        let window = Window::default();
        let takes = |bytes| tokio::time::timeout(Duration::from_millis(20), window.take(bytes));
        assert!(takes(WINDOW).await.is_ok());
        assert!(takes(1).await.is_err());
        assert!(window.acknowledge(WINDOW as u64 + 1).is_err());
        window.acknowledge(2).unwrap();
        window.acknowledge(1).unwrap();
        assert!(takes(2).await.is_ok());
        assert!(takes(1).await.is_err());
        window.acknowledge(WINDOW as u64 + 2).unwrap();
        assert!(takes(WINDOW * 2).await.is_ok(), "what is larger than the window goes alone");
    }
}
