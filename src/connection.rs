//! The connection that carries a request, as those see it who answer on it for long: it is among the extensions of each
//! request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// One connection, whatever protocol it speaks by then.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    ended: CancellationToken,
    full: Arc<AtomicBool>,
}

impl Connection {
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
}
