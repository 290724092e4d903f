//! How many may read at once, all together and each by itself.

use super::{By, JournalError};
use crate::permits::{Share, Shares};

/// Permits for readers.
#[derive(Debug)]
pub(super) struct ReaderPermits(Shares<By>);

impl ReaderPermits {
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self(Shares::new(all, each))
    }

    /// A permit for `by`. What the agent reads for itself needs none: no client can hold it up.
    pub(super) async fn take(&self, by: &By) -> Result<Option<Share>, JournalError> {
        match by {
            By::Agent => Ok(None),
            by => self.0.take(by).await.map(Some).ok_or(JournalError::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_agent_reads_whoever_else_does() {
        let permits = ReaderPermits::new(1, 1);
        let _held = permits.take(&By::Anybody).await.unwrap().unwrap();
        assert!(matches!(permits.take(&By::Anybody).await, Err(JournalError::Busy)));
        assert!(permits.take(&By::Agent).await.unwrap().is_none());
    }
}
