//! A service's lines as they come, those of its builds and the ones to come among them.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

use super::{ServiceError, Services, remove};
use crate::events::Event;
use crate::journal::{Begun, JournalError, Select};
pub use crate::journal::{By, Direction, Entry, Page, Query, check};
use crate::names::{DeploymentId, ReleaseName, ReleaseNumber, ServiceId, ServiceName};
use crate::problem::{Code, Problem, chain};
use crate::store::{Service, StoreError};

/// One line of a log.
pub type LogLine = Result<Entry, ServiceError>;

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
    /// This part of what `query` asks for.
    #[must_use]
    pub fn of(self, query: Query) -> Query {
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

/// What marks the agent's first word of a service: what lies before that in the journal is another's that had its name.
pub(super) fn created_mark(service: &Service) -> String {
    format!("created {} {}", service.id, service.created.as_microsecond())
}

impl Services {
    /// The log of a service, or of one release of it.
    ///
    /// # Errors
    /// There is no such service, no release of it ever had that number, or the store can't be read.
    pub async fn service_log(
        &self,
        name: &ServiceName,
        release: Option<ReleaseNumber>,
    ) -> Result<ServiceLog, ServiceError> {
        let service = self.uses.store.service(name).await?;
        if let Some(number) = release
            && !self.uses.store.has_numbered(service.id, number).await?
        {
            return Err(StoreError::NoRelease(number.0).into());
        }
        let select = match release {
            Some(number) => Select::Release(ReleaseName::new(name, number)),
            None => Select::Service(name.clone(), self.newest_builds(name).await?),
        };
        // What lies further back belongs to another service that had this name.
        let behind = self.begin_of(&service).await?;
        let by_clock = behind.is_none().then_some(service.created.as_microsecond());
        let since = by_clock.and_then(|created| u64::try_from(created).ok());
        let removed = remove::mark(&service);
        let query = Query { since, behind, ..Query::newest(select) };
        Ok(ServiceLog { name: name.clone(), id: service.id, removed, query })
    }

    /// Behind which line of the journal a service's own are; none where that isn't there: the service is older than that the
    /// agent writes it, the journal has forgotten it, or holds it not yet.
    async fn begin_of(&self, service: &Service) -> Result<Option<String>, ServiceError> {
        if let Some(begin) = self.begins.of(service.id) {
            return Ok(begin);
        }
        let begin = self.uses.journal.marked(created_mark(service)).await?;
        self.begins.note(service.id, begin.clone());
        Ok(begin)
    }

    async fn newest_builds(&self, name: &ServiceName) -> Result<Vec<DeploymentId>, ServiceError> {
        let page = self.uses.store.deployments(name, None, BUILDS).await?;
        let built = page.deployments.into_iter().filter(|deployment| deployment.from_release.is_none());
        Ok(built.map(|deployment| deployment.id).collect())
    }

    /// A service's lines as they come, those that are written from now on among them. Builds that begin meanwhile are
    /// taken in. With the service they end.
    ///
    /// # Errors
    /// The service is gone, the query has a cursor or a pattern that is none, or the store or the journal can't be read.
    pub async fn follow_log(
        &self,
        mut log: ServiceLog,
    ) -> Result<impl Stream<Item = LogLine> + Send + use<>, ServiceError> {
        let events = self.uses.events.subscribe();
        if self.gone_since(&log).await?.is_some() {
            return Err(gone());
        }
        if let Select::Service(name, builds) = &mut log.query.select {
            *builds = self.newest_builds(name).await?;
        }
        let begun = self.uses.journal.begin(log.query.clone()).await?;
        let lines = lines(self.uses.journal.follow(begun.clone()));
        let following = Following { services: self.clone(), log, begun, lines, events, gone: false };
        Ok(futures_util::stream::unfold(Some(following), |following| async move {
            let mut following = following?;
            let line = following.next().await?;
            let goes_on = line.is_ok();
            Some((line, goes_on.then_some(following)))
        })
        .fuse())
    }

    /// A part of a service's log, as it comes.
    ///
    /// # Errors
    /// As [`Services::follow_log`].
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
        match self.uses.store.service(&log.name).await {
            Ok(service) if service.id == log.id => Ok(None),
            Ok(other) => Ok(Some(other.created - SignedDuration::from_micros(1))),
            Err(StoreError::NoService(_)) => Ok(Some(now)),
            Err(error) => Err(error.into()),
        }
    }

    /// The lines that are there.
    ///
    /// # Errors
    /// The query has a cursor or a pattern that is none, or the journal can't be read.
    pub async fn log_page(&self, log: ServiceLog) -> Result<Page, ServiceError> {
        Ok(self.uses.journal.query(log.query).await?)
    }
}

/// Lines as they come.
pub type Lines = Pin<Box<dyn Stream<Item = LogLine> + Send>>;

/// Those that the journal reads.
pub fn lines(read: impl Stream<Item = Result<Entry, JournalError>> + Send + 'static) -> Lines {
    Box::pin(read.map(|line| line.map_err(ServiceError::from)))
}

/// What a client is told where a stream of lines ends with an error. What is no client's matter is logged here.
#[must_use]
pub fn ended(error: &ServiceError) -> Problem {
    if !matches!(error, ServiceError::Problem(_)) {
        tracing::warn!("a log stream ended: {}", chain(error));
    }
    error.problem()
}

/// What is told where the service that was asked about is there no more.
#[must_use]
pub fn gone() -> ServiceError {
    ServiceError::Problem(Problem::new(Code::NotFound, "the service is gone"))
}

/// A service's log that is being followed.
struct Following {
    services: Services,
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
        let since = match self.services.gone_since(&self.log).await {
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
        let journal = &self.services.uses.journal;
        let end =
            journal.find_mark(self.log.removed.clone(), self.log.query.by.clone(), self.services.patience()).await;
        match end {
            Some(end) => self.begun.query().before = Some(end),
            None => self.begun.query().until = u64::try_from(since.as_microsecond()).ok(),
        }
        let rest = self.services.uses.journal.read(self.begun.clone());
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
        if let Ok(newest) = self.services.newest_builds(name).await
            && newest.iter().any(|id| !builds.contains(id))
        {
            *builds = newest;
            self.lines = lines(self.services.uses.journal.follow(self.begun.clone()));
        }
    }
}
