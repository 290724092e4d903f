//! What goes on by itself: tasks that an agent which stops waits for.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of what is under way.
#[derive(Debug, Default)]
pub struct Tasks {
    stopping: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// Runs `task` until the agent stops: what is dropped then is what a crash cuts off, and the next agent goes on with it
    /// from the rows.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let stopping = self.stopping.clone();
        self.tracker.spawn(async move { stopping.run_until_cancelled(task).await })
    }

    /// Runs `task` to its end, for which an agent that stops waits: only a crash cuts it off.
    pub fn spawn_whole<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Cancelled when the agent stops.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Lets go of everything under way, and waits until nothing is.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
