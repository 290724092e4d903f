//! Lines as they come: a deployment's whole story, which is the agent's steps and the build's lines until it has ended;
//! and a service's, with those of its builds, the ones to come too.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

use super::Deploys;
use crate::events::Event;
use crate::journal::{Begun, By, Direction, Entry, JournalError, Query, Select};
use crate::names::{DeploymentId, ReleaseName, ReleaseNumber, ServiceId, ServiceName};
use crate::problem::{Code, Problem, chain};
use crate::services::{ServiceError, removal_mark};
use crate::store::{State, StoreError};

/// One line of it.
pub type LogLine = Result<Entry, ServiceError>;

/// A lost event delays the news that a deployment has ended by this much.
const LOOK: Duration = Duration::from_secs(1);
/// How long the last lines of a deployment may be silent whose service is gone.
const LEAVE: Duration = Duration::from_millis(300);
/// How many of a service's newest builds its log shows.
const BUILDS: u32 = 50;

/// A part of a log.
#[derive(Debug, Clone, Default)]
pub struct LogPart {
    /// Who reads it.
    pub by: By,
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
        let Self { by, cursor, including, grep, priority, .. } = self;
        Query { by, cursor, including, grep, priority, direction, lines, ..query }
    }
}

/// A service's log, or that of one release of it.
#[derive(Debug, Clone)]
pub struct ServiceLog {
    name: ServiceName,
    /// The service's row: one that is made anew under the same name is another.
    id: ServiceId,
    /// What marks that the agent has removed it.
    removed: String,
    /// What of the journal it is.
    pub query: Query,
}

impl Deploys {
    /// The log of a service, or of one release of it.
    pub async fn service_log(
        &self,
        name: &ServiceName,
        release: Option<ReleaseNumber>,
    ) -> Result<ServiceLog, ServiceError> {
        let service = self.parts().store.service(name).await?;
        let select = match release {
            Some(number) => Select::Release(ReleaseName::new(name, number)),
            None => Select::Service(name.clone(), self.newest_builds(name).await?),
        };
        // What lies further back belongs to another service that had this name.
        let since = u64::try_from(service.created.as_microsecond()).ok();
        let removed = removal_mark(&service);
        Ok(ServiceLog { name: name.clone(), id: service.id, removed, query: Query { since, ..Query::newest(select) } })
    }

    async fn newest_builds(&self, name: &ServiceName) -> Result<Vec<DeploymentId>, ServiceError> {
        let page = self.parts().store.deployments(name, None, BUILDS).await?;
        let built = page.deployments.into_iter().filter(|deployment| deployment.from_release.is_none());
        Ok(built.map(|deployment| deployment.id).collect())
    }

    /// A service's lines as they come, those that are written from now on among them. Builds that begin meanwhile are
    /// taken in. With the service they end.
    pub async fn follow_log(
        &self,
        mut log: ServiceLog,
    ) -> Result<impl Stream<Item = LogLine> + Send + use<>, ServiceError> {
        let events = self.parts().events.subscribe();
        if self.gone_since(&log).await?.is_some() {
            return Err(gone());
        }
        if let Select::Service(name, builds) = &mut log.query.select {
            *builds = self.newest_builds(name).await?;
        }
        let begun = self.parts().journal.begin(log.query.clone()).await?;
        let lines = lines(self.parts().journal.follow(begun.clone()));
        let following = Following { deploys: self.clone(), log, begun, lines, events, gone: false };
        Ok(futures_util::stream::unfold(Some(following), |following| async move {
            let mut following = following?;
            let line = following.next().await?;
            let goes_on = line.is_ok();
            Some((line, goes_on.then_some(following)))
        })
        .fuse())
    }

    /// A part of a service's log, as it comes.
    pub async fn follow_part(
        &self,
        log: ServiceLog,
        part: LogPart,
    ) -> Result<impl Stream<Item = LogLine> + Send + use<>, ServiceError> {
        self.follow_log(ServiceLog { query: part.of(log.query), ..log }).await
    }

    /// Where the service is gone, the last moment whose lines under its name can be its own: another may have that now.
    async fn gone_since(&self, log: &ServiceLog) -> Result<Option<Timestamp>, ServiceError> {
        let now = Timestamp::now();
        match self.parts().store.service(&log.name).await {
            Ok(service) if service.id == log.id => Ok(None),
            Ok(other) => Ok(Some(other.created - SignedDuration::from_micros(1))),
            Err(StoreError::NoService(_)) => Ok(Some(now)),
            Err(error) => Err(error.into()),
        }
    }

    /// The deployment's lines from its beginning on, or a part of them. The stream ends with the last that the agent says
    /// of it.
    pub async fn log(
        &self,
        id: DeploymentId,
        part: LogPart,
    ) -> Result<impl Stream<Item = LogLine> + Send + use<>, ServiceError> {
        let events = self.parts().events.subscribe();
        let deployment = self.parts().store.deployment(id).await?;
        // A second's room: the row's time and the journal's are taken one after the other.
        let since = deployment.began().and_then(|at| u64::try_from(at.as_microsecond() - 1_000_000).ok());
        let query = part.of(Query { since, ..Query::newest(Select::Deployment(id)) });
        let begun = self.parts().journal.begin(query).await?;
        let ended = deployment.state.is_final();
        // Of what ended so long ago nothing more will come, be its last line there or not.
        let patience =
            SignedDuration::try_from(self.parts().config.get().limits.journal).unwrap_or(SignedDuration::MAX);
        let long_ago = |(_, at): &(State, Timestamp)| Timestamp::now().duration_since(*at) > patience;
        let lines = if ended && deployment.steps.last().is_some_and(long_ago) {
            lines(self.parts().journal.read(begun))
        } else {
            lines(self.parts().journal.follow(begun))
        };
        let story = Story { deploys: self.clone(), id, lines, events, stands: Stands::of(deployment.state) };
        Ok(futures_util::stream::unfold(Some(story), |story| async move {
            let mut story = story?;
            let line = story.next().await?;
            let goes_on = line.is_ok();
            Some((line, goes_on.then_some(story)))
        })
        .fuse())
    }
}

type Lines = Pin<Box<dyn Stream<Item = LogLine> + Send>>;

fn lines(read: impl Stream<Item = Result<Entry, JournalError>> + Send + 'static) -> Lines {
    Box::pin(read.map(|line| line.map_err(ServiceError::from)))
}

/// A deployment's log.
struct Story {
    deploys: Deploys,
    id: DeploymentId,
    lines: Lines,
    events: broadcast::Receiver<Event>,
    stands: Stands,
}

/// How a deployment stands whose log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    UnderWay,
    Ended,
    /// It went with its service.
    Gone,
}

impl Stands {
    fn of(state: State) -> Self {
        if state.is_final() { Self::Ended } else { Self::UnderWay }
    }
}

impl Story {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            // Behind the last that the agent says of it the lines end by themselves. An agent that was killed says nothing.
            let pause = match self.stands {
                Stands::UnderWay => LOOK,
                Stands::Ended => self.deploys.parts().config.get().limits.journal,
                Stands::Gone => LEAVE,
            };
            let (before, mut silence) = (self.stands, pin!(tokio::time::sleep(pause)));
            while self.stands == before {
                tokio::select! {
                    line = self.lines.next() => return line,
                    () = self.deploys.inner.stopping.cancelled() => return None,
                    event = self.events.recv(), if self.stands != Stands::Gone => {
                        let concerns = match &event {
                            Ok(Event::Deployment(_, heard)) => *heard == self.id,
                            Ok(Event::Removed(_)) | Err(_) => true,
                            Ok(_) => false,
                        };
                        if concerns {
                            self.look().await;
                        }
                    }
                    () = &mut silence => match self.stands {
                        Stands::UnderWay => {
                            self.look().await;
                            break;
                        }
                        Stands::Ended => return None,
                        Stands::Gone => return Some(Err(gone())),
                    }
                }
            }
        }
    }

    async fn look(&mut self) {
        self.stands = match self.deploys.parts().store.deployment(self.id).await {
            Ok(deployment) => Stands::of(deployment.state),
            Err(StoreError::NoDeployment(_)) => Stands::Gone,
            Err(_) => Stands::Ended,
        };
    }
}

/// What a client is told where a stream of lines ends with an error. What is no client's matter is logged here.
#[must_use]
pub fn ended(error: &ServiceError) -> Problem {
    if !matches!(error, ServiceError::Problem(_)) {
        tracing::warn!("a log stream ended: {}", chain(error));
    }
    error.problem()
}

fn gone() -> ServiceError {
    ServiceError::Problem(Problem::new(Code::NotFound, "the service is gone"))
}

/// A service's log that is being followed.
struct Following {
    deploys: Deploys,
    log: ServiceLog,
    /// What of it was not read yet.
    begun: Begun,
    lines: Lines,
    events: broadcast::Receiver<Event>,
    /// The service is gone, and the lines are the last ones.
    gone: bool,
}

impl Following {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            tokio::select! {
                biased;
                // Before the lines: those of a build that begins lie behind all that were read by now, and where there
                // is always a line it would never be heard of.
                event = self.events.recv(), if !self.gone => self.hear(event).await,
                line = self.lines.next() => {
                    if let Some(Ok(entry)) = &line {
                        self.begun.read(entry);
                    }
                    return line;
                }
            }
        }
    }

    async fn hear(&mut self, event: Result<Event, broadcast::error::RecvError>) {
        match event {
            Ok(Event::Deployment(service, id)) if service == self.log.name => self.look_for_builds(Some(id)).await,
            Ok(Event::Removed(service)) if service == self.log.name => self.look_whether_gone().await,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                self.look_whether_gone().await;
                self.look_for_builds(None).await;
            }
            _ => {}
        }
    }

    /// Where the service is gone, what it printed is read to its end: the agent has said since that it removed it.
    async fn look_whether_gone(&mut self) {
        if self.gone {
            return;
        }
        let since = match self.deploys.gone_since(&self.log).await {
            Ok(Some(since)) => since,
            Ok(None) => return,
            Err(error) => {
                // Whose lines these are is not known any more.
                self.end_with(error);
                return;
            }
        };
        // What this reader has and nobody took yet is read again.
        self.lines = Box::pin(futures_util::stream::empty());
        self.deploys.marked(self.log.removed.clone(), self.log.query.by.clone()).await;
        self.begun.query().until = u64::try_from(since.as_microsecond()).ok();
        let rest = self.deploys.parts().journal.read(self.begun.clone());
        self.lines = Box::pin(lines(rest).chain(futures_util::stream::iter([Err(gone())])));
        self.gone = true;
    }

    fn end_with(&mut self, error: ServiceError) {
        self.lines = Box::pin(futures_util::stream::iter([Err(error)]));
        self.gone = true;
    }

    /// Where a build has begun that the reader doesn't know of, another reader goes on at the same place.
    async fn look_for_builds(&mut self, begun: Option<DeploymentId>) {
        if self.gone {
            return;
        }
        let Select::Service(name, builds) = &mut self.begun.query().select else { return };
        if begun.is_some_and(|id| builds.contains(&id)) {
            return;
        }
        if let Ok(newest) = self.deploys.newest_builds(name).await
            && newest.iter().any(|id| !builds.contains(id))
        {
            *builds = newest;
            self.lines = lines(self.deploys.parts().journal.follow(self.begun.clone()));
        }
    }
}
