//! A deployment's whole story as it happens: the agent's steps and the build's lines, until it has ended.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Deploys;
use crate::events::Event;
use crate::journal::{Direction, Entry, JournalError, Query, Select};
use crate::names::DeploymentId;
use crate::services::ServiceError;

/// One line of it.
pub type LogLine = Result<Entry, JournalError>;

/// How many lines wait for a slow listener; the journal keeps the others.
const WINDOW: usize = 64;
/// How long the journal may be silent after the deployment has ended until its story is over.
const SILENCE: Duration = Duration::from_millis(600);

impl Deploys {
    /// The deployment's lines from its beginning on, or from behind `cursor`. The stream ends with the deployment.
    pub async fn log(&self, id: DeploymentId, cursor: Option<String>) -> Result<ReceiverStream<LogLine>, ServiceError> {
        let deployment = self.parts().store.deployment(id).await?;
        // A second's room: the row's time and the journal's are taken one after the other.
        let since = deployment.steps.first().and_then(|(_, at)| u64::try_from(at.as_microsecond() - 1_000_000).ok());
        let query = Query {
            since,
            cursor,
            direction: Direction::Forward,
            lines: usize::MAX,
            ..Query::newest(Select::Deployment(id))
        };
        let lines = self.parts().journal.follow(query);
        let (sender, receiver) = mpsc::channel(WINDOW);
        let this = self.clone();
        self.inner.tasks.spawn(async move {
            let stopping = this.inner.stopping.clone();
            let _ = stopping.run_until_cancelled(this.pump(id, lines, sender)).await;
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn pump(
        &self,
        id: DeploymentId,
        lines: impl futures_util::Stream<Item = LogLine>,
        sender: mpsc::Sender<LogLine>,
    ) {
        let mut lines = std::pin::pin!(lines);
        let mut events = self.parts().events.subscribe();
        let mut ended = self.has_ended(id).await;
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(line) => {
                        if sender.send(line).await.is_err() {
                            return;
                        }
                    }
                    None => return,
                },
                () = sender.closed() => return,
                event = events.recv(), if !ended => {
                    if matches!(&event, Ok(Event::Deployment(_, heard)) if *heard == id) || event.is_err() {
                        ended = self.has_ended(id).await;
                    }
                }
                () = tokio::time::sleep(SILENCE) => {
                    if ended {
                        return;
                    }
                    ended = self.has_ended(id).await;
                }
            }
        }
    }

    async fn has_ended(&self, id: DeploymentId) -> bool {
        self.parts().store.deployment(id).await.map_or(true, |deployment| deployment.state.is_final())
    }
}
