//! What calls do that change something. It is a task of its own, for which the call only waits: a client that leaves in the
//! middle leaves nothing half done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::names::Actor;
use crate::problem::{Code, Problem};

/// How many go on at once whose clients have left, of each who asks. Those that wait are as many as there are connections.
const EACH: usize = 16;
/// And of all together.
const MOST: usize = 256;

/// Who has asked; none is whoever has not signed in.
pub(super) type By = Option<Actor>;

/// What goes on though its clients have left. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Unattended {
    // As many as go on of each; nobody is in it of whom none do.
    counts: Arc<Mutex<HashMap<By, usize>>>,
    tasks: TaskTracker,
}

impl Unattended {
    fn counts(&self) -> MutexGuard<'_, HashMap<By, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses another call of `by` while too many of theirs go on, or too many of all. A process on the host, such as git's
    /// hook and the command line of who would end the rest, is never refused.
    pub(super) fn room(&self, by: &By) -> Result<(), Problem> {
        let counts = self.counts();
        let own = counts.get(by).copied().unwrap_or_default();
        if matches!(by, Some(Actor::Local(_))) || (own < EACH && counts.values().sum::<usize>() < MOST) {
            return Ok(());
        }
        Err(Problem::new(Code::Busy, "too much is under way that clients have asked for and not waited for"))
    }

    /// Waits until all that was asked for has ended; what is asked for meanwhile counts.
    pub(super) async fn end_all(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many go on.
    pub(super) fn going_on(&self) -> usize {
        self.tasks.len()
    }

    fn begin(&self, by: By) {
        *self.counts().entry(by).or_default() += 1;
    }

    fn end(&self, by: &By) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(by) {
            *count -= 1;
            if *count == 0 {
                counts.remove(by);
            }
        }
    }

    /// Carries out the `work` that `by` has asked for, whether or not the caller waits for its end. `gone` is cancelled where
    /// it does not.
    pub(super) async fn carry_out<T: Send + 'static>(
        &self,
        by: By,
        gone: CancellationToken,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let task = self.tasks.spawn(work.in_current_span());
        let mut attended = Attended { unattended: self.clone(), by, gone, task: Some(task) };
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
    by: By,
    gone: CancellationToken,
    /// None: it has ended.
    task: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Drop for Attended<T> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        self.gone.cancel();
        let (unattended, by) = (self.unattended.clone(), self.by.take());
        unattended.begin(by.clone());
        tokio::spawn(async move {
            let _ = task.await;
            unattended.end(&by);
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
            let mut call = std::pin::pin!(unattended.carry_out(None, gone.clone(), work));
            tokio::select! {
                biased;
                _ = &mut call => unreachable!("it waits"),
                begun = is_done.recv() => assert_eq!(begun, Some("begun")),
            }
        }
        assert!(gone.is_cancelled());
        assert_eq!(unattended.counts().get(&None), Some(&1));
        let mut end = std::pin::pin!(unattended.end_all());
        assert!(futures_util::poll!(&mut end).is_pending(), "an agent that stops waits for it");
        go_on.send(()).unwrap();
        end.await;
        assert_eq!(is_done.try_recv(), Ok("done"));
        while !unattended.counts().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_waited_for_is_answered_and_too_much_that_is_not_is_refused() {
        let unattended = Unattended::default();
        let gone = CancellationToken::new();
        let [one, other] = ["one", "other"].map(|name| Some(Actor::Token(name.parse().unwrap())));
        assert_eq!(unattended.carry_out(one.clone(), gone.clone(), async { Ok(7) }).await.unwrap(), 7);
        assert!(!gone.is_cancelled() && unattended.room(&one).is_ok());
        unattended.counts().insert(one.clone(), EACH);
        assert_eq!(unattended.room(&one).unwrap_err().code, Code::Busy);
        assert!(unattended.room(&other).is_ok() && unattended.room(&None).is_ok(), "no one takes everybody's");
        unattended.counts().insert(one, MOST);
        assert_eq!(unattended.room(&other).unwrap_err().code, Code::Busy);
        assert!(unattended.room(&Some(Actor::Local(0))).is_ok());
    }
}
