//! A deployment's whole story, as it comes: the agent's steps and the build's lines, until it has ended.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

use super::Deploys;
use crate::events::Event;
use crate::journal::{Query, Select};
use crate::names::DeploymentId;
use crate::services::ServiceError;
use crate::services::log::{Lines, LogLine, LogPart, gone, lines};
use crate::store::{DeploymentState, StoreError};

/// A lost event delays the news that a deployment has ended by this much.
const LOOK: Duration = Duration::from_secs(1);
/// How long the last lines of a deployment may be silent whose service is gone.
const LEAVE: Duration = Duration::from_millis(300);

impl Deploys {
    /// The deployment's lines from its beginning on, or a part of them. The stream ends with the last that the agent says
    /// of it.
    ///
    /// # Errors
    /// There is no such deployment, `part` has a cursor or a pattern that is none, or the store or the journal can't be read.
    pub async fn log(
        &self,
        id: DeploymentId,
        part: LogPart,
    ) -> Result<impl Stream<Item = LogLine> + Send + use<>, ServiceError> {
        let events = self.uses().events.subscribe();
        let deployment = self.uses().store.deployment(id).await?;
        // A second's room: the row's time and the journal's are taken one after the other.
        let since = deployment.began().and_then(|at| u64::try_from(at.as_microsecond() - 1_000_000).ok());
        let query = part.of(Query { since, ..Query::newest(Select::Deployment(id)) });
        let begun = self.uses().journal.begin(query).await?;
        let ended = deployment.state.is_final();
        // Of what ended so long ago nothing more will come, be its last line there or not.
        let patience = SignedDuration::try_from(self.uses().config.get().limits.journal).unwrap_or(SignedDuration::MAX);
        let long_ago = |(_, at): &(DeploymentState, Timestamp)| Timestamp::now().duration_since(*at) > patience;
        let lines = if ended && deployment.steps.last().is_some_and(long_ago) {
            lines(self.uses().journal.read(begun))
        } else {
            lines(self.uses().journal.follow(begun))
        };
        let log = DeploymentLog { deploys: self.clone(), id, lines, events, progress: Progress::of(deployment.state) };
        Ok(futures_util::stream::unfold(Some(log), |log| async move {
            let mut log = log?;
            let line = log.next().await?;
            let goes_on = line.is_ok();
            Some((line, goes_on.then_some(log)))
        })
        .fuse())
    }
}

/// A deployment's log.
struct DeploymentLog {
    deploys: Deploys,
    id: DeploymentId,
    lines: Lines,
    events: broadcast::Receiver<Event>,
    progress: Progress,
}

/// How a deployment stands whose log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    UnderWay,
    Ended,
    /// It went with its service.
    Gone,
}

impl Progress {
    fn of(state: DeploymentState) -> Self {
        if state.is_final() { Self::Ended } else { Self::UnderWay }
    }
}

impl DeploymentLog {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            // Behind the last that the agent says of it the lines end by themselves. An agent that was killed says nothing.
            let pause = match self.progress {
                Progress::UnderWay => LOOK,
                Progress::Ended => self.deploys.uses().config.get().limits.journal,
                Progress::Gone => LEAVE,
            };
            let (before, mut silence) = (self.progress, pin!(tokio::time::sleep(pause)));
            while self.progress == before {
                tokio::select! {
                    line = self.lines.next() => return line,
                    () = self.deploys.uses().queue.tasks().stopping().cancelled() => return None,
                    event = self.events.recv(), if self.progress != Progress::Gone => {
                        let concerns = match &event {
                            Ok(Event::Deployment(_, heard)) => *heard == self.id,
                            Ok(Event::Removed(_)) | Err(_) => true,
                            Ok(_) => false,
                        };
                        if concerns {
                            self.look().await;
                        }
                    }
                    () = &mut silence => match self.progress {
                        Progress::UnderWay => {
                            self.look().await;
                            break;
                        }
                        Progress::Ended => return None,
                        Progress::Gone => return Some(Err(gone())),
                    }
                }
            }
        }
    }

    async fn look(&mut self) {
        self.progress = match self.deploys.uses().store.deployment(self.id).await {
            Ok(deployment) => Progress::of(deployment.state),
            Err(StoreError::NoDeployment(_)) => Progress::Gone,
            Err(_) => Progress::Ended,
        };
    }
}
