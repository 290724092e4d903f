//! Lines as they come: a deployment's whole story, which is the agent's steps and the build's lines until it has ended;
//! and a service's, with those of its builds, the ones to come too.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::broadcast;

use super::Deploys;
use crate::events::Event;
use crate::journal::{Direction, Entry, JournalError, Query, Select};
use crate::names::{DeploymentId, ReleaseName, ReleaseNumber, ServiceName};
use crate::services::ServiceError;

/// One line of it.
pub type LogLine = Result<Entry, JournalError>;

/// How long the journal may be silent after the deployment has ended until its story is over.
const SILENCE: Duration = Duration::from_millis(600);
/// How many of a service's newest builds its log shows.
const BUILDS: u32 = 50;

/// A part of a log.
#[derive(Debug, Clone, Default)]
pub struct LogPart {
    /// Only what is behind this line.
    pub cursor: Option<String>,
    /// That line itself too.
    pub including: bool,
    /// Without a cursor: so many of the lines that are there.
    pub lines: Option<usize>,
    /// Only lines that this regular expression finds something in.
    pub grep: Option<String>,
    /// Only lines of this syslog priority or a graver one.
    pub priority: Option<u8>,
}

impl LogPart {
    fn of(self, query: Query) -> Query {
        let direction = if self.lines.is_some() { Direction::Backward } else { Direction::Forward };
        let lines = self.lines.unwrap_or(usize::MAX);
        let Self { cursor, including, grep, priority, .. } = self;
        Query { cursor, including, grep, priority, direction, lines, ..query }
    }
}

impl Deploys {
    /// What of the journal is the log of a service, or of one release of it.
    pub async fn log_query(&self, name: &ServiceName, release: Option<ReleaseNumber>) -> Result<Query, ServiceError> {
        let service = self.parts().store.service(name).await?;
        let select = match release {
            Some(number) => Select::Release(ReleaseName::new(name, number)),
            None => Select::Service(name.clone(), self.newest_builds(name).await?),
        };
        // What lies further back belongs to another service that had this name.
        Ok(Query { since: u64::try_from(service.created.as_microsecond()).ok(), ..Query::newest(select) })
    }

    async fn newest_builds(&self, name: &ServiceName) -> Result<Vec<DeploymentId>, ServiceError> {
        let page = self.parts().store.deployments(name, None, BUILDS).await?;
        let built = page.deployments.into_iter().filter(|deployment| deployment.from_release.is_none());
        Ok(built.map(|deployment| deployment.id).collect())
    }

    /// A service's lines as they come, those that are written from now on among them. Builds that begin meanwhile are
    /// taken in.
    pub async fn follow_log(&self, query: Query) -> Result<impl Stream<Item = LogLine> + Send + use<>, ServiceError> {
        let events = self.parts().events.subscribe();
        let query = self.parts().journal.begin(query).await?;
        let lines = Box::pin(self.parts().journal.follow(query.clone()));
        let following = Following { deploys: self.clone(), query, lines, events };
        Ok(futures_util::stream::unfold(following, |mut following| async move {
            let line = following.next().await?;
            Some((line, following))
        }))
    }

    /// A part of a service's log, as it comes.
    pub async fn service_log(
        &self,
        name: &ServiceName,
        release: Option<ReleaseNumber>,
        part: LogPart,
    ) -> Result<impl Stream<Item = LogLine> + Send + use<>, ServiceError> {
        self.follow_log(part.of(self.log_query(name, release).await?)).await
    }

    /// The deployment's lines from its beginning on, or a part of them. The stream ends with the deployment.
    pub async fn log(
        &self,
        id: DeploymentId,
        part: LogPart,
    ) -> Result<impl Stream<Item = LogLine> + Send + use<>, ServiceError> {
        let events = self.parts().events.subscribe();
        let deployment = self.parts().store.deployment(id).await?;
        // A second's room: the row's time and the journal's are taken one after the other.
        let since = deployment.steps.first().and_then(|(_, at)| u64::try_from(at.as_microsecond() - 1_000_000).ok());
        let query = part.of(Query { since, ..Query::newest(Select::Deployment(id)) });
        let query = self.parts().journal.begin(query).await?;
        let lines = Box::pin(self.parts().journal.follow(query));
        let story = Story { deploys: self.clone(), id, lines, events, ended: deployment.state.is_final() };
        Ok(futures_util::stream::unfold(story, |mut story| async move {
            let line = story.next().await?;
            Some((line, story))
        }))
    }

    async fn has_ended(&self, id: DeploymentId) -> bool {
        self.parts().store.deployment(id).await.map_or(true, |deployment| deployment.state.is_final())
    }
}

type Lines = Pin<Box<dyn Stream<Item = LogLine> + Send>>;

/// A deployment's log.
struct Story {
    deploys: Deploys,
    id: DeploymentId,
    lines: Lines,
    events: broadcast::Receiver<Event>,
    ended: bool,
}

impl Story {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            tokio::select! {
                line = self.lines.next() => return line,
                () = self.deploys.inner.stopping.cancelled() => return None,
                event = self.events.recv(), if !self.ended => {
                    if matches!(&event, Ok(Event::Deployment(_, heard)) if *heard == self.id) || event.is_err() {
                        self.ended = self.deploys.has_ended(self.id).await;
                    }
                }
                () = tokio::time::sleep(SILENCE) => {
                    if self.ended {
                        return None;
                    }
                    self.ended = self.deploys.has_ended(self.id).await;
                }
            }
        }
    }
}

/// A service's log that is being followed.
struct Following {
    deploys: Deploys,
    query: Query,
    lines: Lines,
    events: broadcast::Receiver<Event>,
}

impl Following {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            tokio::select! {
                biased;
                line = self.lines.next() => {
                    if let Some(Ok(entry)) = &line {
                        self.query.cursor = Some(entry.cursor.clone());
                        self.query.including = false;
                    }
                    return line;
                }
                event = self.events.recv() => self.look_for_builds(event).await,
            }
        }
    }

    /// Where a build has begun that the reader doesn't know of, another reader goes on at the same place.
    async fn look_for_builds(&mut self, event: Result<Event, broadcast::error::RecvError>) {
        let Select::Service(name, builds) = &self.query.select else { return };
        let unknown = match event {
            Ok(Event::Deployment(service, id)) => service == *name && !builds.contains(&id),
            Err(broadcast::error::RecvError::Lagged(_)) => true,
            _ => false,
        };
        if !unknown {
            return;
        }
        if let Ok(newest) = self.deploys.newest_builds(name).await
            && newest.iter().any(|id| !builds.contains(id))
        {
            self.query.select = Select::Service(name.clone(), newest);
            self.lines = Box::pin(self.deploys.parts().journal.follow(self.query.clone()));
        }
    }
}
