//! The connection that carries a request, as those see it who answer on it for long: it is among the extensions of each
//! request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use crate::permits::SharedPermit;

/// What may be read where nothing bounds it.
const UNBOUNDED: usize = usize::MAX;

/// One connection, whatever protocol it speaks by then.
#[derive(Debug, Clone)]
pub struct Connection {
    ended: CancellationToken,
    full: Arc<AtomicBool>,
    permit: SharedPermit,
    known: Arc<AtomicBool>,
    left: Arc<AtomicUsize>,
}

impl Default for Connection {
    fn default() -> Self {
        Self::new(SharedPermit::default())
    }
}

impl Connection {
    /// One that has a permit among those of strangers.
    #[must_use]
    pub fn new(permit: SharedPermit) -> Self {
        let (ended, full, known) = (CancellationToken::new(), Arc::default(), Arc::default());
        Self { ended, full, permit, known, left: Arc::new(AtomicUsize::new(UNBOUNDED)) }
    }

    /// Cancelled when the connection ends; whoever cancels it cuts the connection.
    #[must_use]
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Whether what was written last waits for the other side to read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) && !self.ended.is_cancelled()
    }

    /// Says whether what was written last waits.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Says that whoever is at its other end has shown who it is: it is no stranger's any more.
    pub fn know(&self) {
        self.known.store(true, Ordering::SeqCst);
        self.left.store(UNBOUNDED, Ordering::SeqCst);
        self.permit.leave();
    }

    /// Lets a stranger send so many bytes more. Whoever sends more is cut off.
    pub fn bound(&self, bytes: usize) {
        self.left.store(bytes, Ordering::SeqCst);
        // It may have become known meanwhile.
        if self.known.load(Ordering::SeqCst) {
            self.left.store(UNBOUNDED, Ordering::SeqCst);
        }
    }

    /// Counts what was read; false where it was more than it may be.
    #[must_use]
    pub fn count(&self, bytes: usize) -> bool {
        let spend = |left: usize| if left == UNBOUNDED { Some(left) } else { left.checked_sub(bytes) };
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permits::Permits;

    #[test]
    fn a_stranger_is_bound_until_it_is_known() {
        let places = Permits::new(1, 1);
        let connection = Connection::new(SharedPermit::new(places.take(None).ok()));
        assert!(connection.count(1 << 30));
        connection.bound(10);
        assert!(connection.count(6) && connection.count(4) && !connection.count(1));
        assert!(places.take(None).is_err());
        connection.know();
        assert!(connection.count(1 << 30) && places.take(None).is_ok());
        connection.bound(10);
        assert!(connection.count(11), "who is known stays so");
    }
}
