//! What calls do that change something. It is a task of its own, for which the call only waits: a client that leaves in the
//! middle leaves nothing half done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::problem::{Code, Problem};

/// How many go on at once whose clients have left. Those that wait are as many as there are connections.
const MOST: usize = 256;

/// What goes on though its clients have left. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Unattended {
    count: Arc<AtomicUsize>,
}

impl Unattended {
    /// Refuses another call while too many go on.
    pub(super) fn room(&self) -> Result<(), Problem> {
        if self.count.load(Ordering::SeqCst) < MOST {
            return Ok(());
        }
        Err(Problem::new(Code::Busy, "too much is under way that clients have asked for and not waited for"))
    }

    /// Carries `work` out, whether or not the caller waits for its end. `gone` is cancelled where it does not.
    pub(super) async fn carry_out<T: Send + 'static>(
        &self,
        gone: CancellationToken,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let task = tokio::spawn(work.in_current_span());
        let mut attended = Attended { unattended: self.clone(), gone, task: Some(task) };
        let ended = match &mut attended.task {
            Some(task) => task.await,
            None => return Err(failed()),
        };
        attended.task = None;
        // It is never cancelled: that fails where it panics, or as the whole agent ends.
        ended.unwrap_or_else(|_| Err(failed()))
    }
}

fn failed() -> Problem {
    Problem::new(Code::Internal, "the agent failed in the middle of it")
}

/// Whoever waits for a task.
struct Attended<T: Send + 'static> {
    unattended: Unattended,
    gone: CancellationToken,
    /// None: it has ended.
    task: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Drop for Attended<T> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        self.gone.cancel();
        self.unattended.count.fetch_add(1, Ordering::SeqCst);
        let count = self.unattended.count.clone();
        tokio::spawn(async move {
            let _ = task.await;
            count.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_begun_is_done_when_nobody_waits_for_it() {
        let unattended = Unattended::default();
        let gone = CancellationToken::new();
        let (go_on, goes_on) = tokio::sync::oneshot::channel::<()>();
        let (done, mut is_done) = tokio::sync::mpsc::channel::<&str>(2);
        let work = async move {
            let _ = done.send("begun").await;
            let _ = goes_on.await;
            let _ = done.send("done").await;
            Ok(())
        };
        {
            let mut call = std::pin::pin!(unattended.carry_out(gone.clone(), work));
            tokio::select! {
                biased;
                _ = &mut call => unreachable!("it waits"),
                begun = is_done.recv() => assert_eq!(begun, Some("begun")),
            }
        }
        assert!(gone.is_cancelled());
        assert_eq!(unattended.count.load(Ordering::SeqCst), 1);
        go_on.send(()).unwrap();
        assert_eq!(is_done.recv().await, Some("done"));
        while unattended.count.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_waited_for_is_answered_and_too_much_that_is_not_is_refused() {
        let unattended = Unattended::default();
        let gone = CancellationToken::new();
        assert_eq!(unattended.carry_out(gone.clone(), async { Ok(7) }).await.unwrap(), 7);
        assert!(!gone.is_cancelled() && unattended.room().is_ok());
        unattended.count.store(MOST, Ordering::SeqCst);
        assert_eq!(unattended.room().unwrap_err().code, Code::Busy);
    }
}
