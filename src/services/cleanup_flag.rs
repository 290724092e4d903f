//! Whether something may lie about that only a look at all of the host finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// It is so at the start, too. A clone is another handle.
#[derive(Debug, Clone)]
pub struct CleanupFlag {
    inner: Arc<(AtomicBool, Notify)>,
}

impl Default for CleanupFlag {
    fn default() -> Self {
        Self { inner: Arc::new((AtomicBool::new(true), Notify::new())) }
    }
}

impl CleanupFlag {
    /// Lets the next look come soon, and be thorough.
    pub fn set(&self) {
        self.note();
        self.inner.1.notify_one();
    }

    /// Lets the next look be thorough, whenever it comes.
    pub fn note(&self) {
        self.inner.0.store(true, Ordering::SeqCst);
    }

    /// Whether it is so; from then on it isn't.
    #[must_use]
    pub fn take(&self) -> bool {
        self.inner.0.swap(false, Ordering::SeqCst)
    }

    /// Waits until a look shall come soon.
    pub async fn rung(&self) {
        self.inner.1.notified().await;
    }
}
