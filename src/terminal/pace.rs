//! How often something is tried that fails.

use std::time::Duration;

/// How long it takes until the end of what could not be ended is tried again: at first, and at most.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(30);

/// How often something is tried that fails: less and less often.
#[derive(Debug)]
pub struct Pace(Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(AGAIN)
    }
}

impl Pace {
    /// Waits until it is tried again.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = AT_MOST.min(self.0 * 2);
    }
}
