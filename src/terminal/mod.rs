//! Terminals: the isolated shell, and shells in services' containers. Sessions live in the agent, and end with it; what
//! a killed agent left behind is cleared away by the next one.

mod pty;
mod reap;
mod screen;
mod session;
mod shell;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio_util::task::TaskTracker;

pub use reap::reap;
pub use session::{End, Session, View, Viewer};

use crate::config::LiveConfig;
use crate::names::{AbsPath, Actor, ServiceName, SessionId, SessionName};
use crate::podman::{Podman, PodmanError};
use crate::problem::{Code, Problem, chain};
use crate::store::{Store, StoreError};
use crate::units::{UnitsError, UserManager, own_program};
use shell::Place;

/// How long the sessions may take to end when the agent stops.
const END: Duration = Duration::from_secs(3);
/// How long it takes until the end of what could not be ended is tried again: at first, and at most.
const AGAIN: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(30);

/// A terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    /// How many columns a window may have.
    pub const COLS: RangeInclusive<u16> = 2..=1000;
    /// How many rows.
    pub const ROWS: RangeInclusive<u16> = 1..=500;

    /// A size as a client names it.
    pub fn parse(cols: u64, rows: u64) -> Result<Self, TerminalError> {
        match (u16::try_from(cols), u16::try_from(rows)) {
            (Ok(cols), Ok(rows)) if Self::COLS.contains(&cols) && Self::ROWS.contains(&rows) => Ok(Self { cols, rows }),
            _ => Err(TerminalError::Size),
        }
    }
}

/// Why a terminal can't be had.
#[derive(Debug, Error)]
pub enum TerminalError {
    /// Podman.
    #[error(transparent)]
    Podman(#[from] PodmanError),
    /// systemd.
    #[error(transparent)]
    Units(#[from] UnitsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pseudo-terminal.
    #[error("can't {what}")]
    Pty {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file.
    #[error("can't {what}")]
    File {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A size that no terminal has.
    #[error("a terminal has {} to {} columns and {} to {} rows", Size::COLS.start(), Size::COLS.end(), Size::ROWS.start(), Size::ROWS.end())]
    Size,
    /// No session of this id.
    #[error("there is no such session")]
    Unknown,
    /// The name is another session's.
    #[error("a session is named `{0}` already")]
    Taken(SessionName),
    /// Too many.
    #[error("{0} sessions are open, and this host takes no more")]
    Full(u32),
    /// No container to have a shell in.
    #[error("`{0}` does not run")]
    NotRunning(ServiceName),
    /// Its container has no shell.
    #[error("the container of `{0}` has neither bash nor sh")]
    NoShell(ServiceName),
    /// The shell's image could not be had.
    #[error("the shell's image could not be made: it ended with status {0}")]
    Image(i32),
    /// The network of the isolated shell is not closed.
    #[error("the isolated shell's network could not be closed, so it was not started")]
    Open,
    /// Processes of a session go on after its end.
    #[error("processes of the session could not be ended")]
    Left,
    /// The program takes no more input.
    #[error("the program does not read what it is sent")]
    Stuck,
    /// The program has ended.
    #[error("the session has ended")]
    Ended,
    /// The agent stops.
    #[error("the agent is stopping")]
    Stopping,
}

impl TerminalError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Self::Podman(error) => return error.problem(),
            Self::Units(error) => return error.problem(),
            Self::Store(error) => return error.problem(),
            Self::Pty { .. } | Self::File { .. } => {
                (Code::Internal, "the agent's log tells why: journalctl -u podkeeper")
            }
            Self::Size => (Code::BadRequest, "send the size of your window"),
            Self::Unknown => (Code::NotFound, "`list` tells which sessions there are"),
            Self::Taken(_) => (Code::Conflict, "attach to it, or take another name"),
            Self::Full(_) => (Code::Exhausted, "close one, or raise `shell.sessions`"),
            Self::NotRunning(_) => (Code::Conflict, "`podkeeper deploy NAME`, or POST /services/NAME/start, starts it"),
            Self::NoShell(_) => (Code::NoShell, "add a shell to its image"),
            Self::Image(_) => (Code::BuildFailed, "the lines above tell why"),
            Self::Open => (Code::Internal, "install podkeeper-host again; `podkeeper doctor` tells more"),
            Self::Left => (Code::Internal, "the agent's log tells why: journalctl -u podkeeper"),
            Self::Stuck => (Code::Conflict, "press Ctrl-C, or close the session"),
            Self::Ended => (Code::NotFound, "open another"),
            Self::Stopping => (Code::Restarting, "open another in a moment"),
        };
        Problem::new(code, self.to_string()).with_hint(hint)
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// In this service's container; none: an isolated shell.
    pub service: Option<ServiceName>,
    /// What it shall be called.
    pub name: Option<SessionName>,
    /// Its size.
    pub size: Size,
    /// Who asks.
    pub actor: Actor,
}

/// The terminals of this host.
#[derive(Debug, Clone)]
pub struct Terminals {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    podman: Podman,
    units: UserManager,
    config: LiveConfig,
    /// This program, as it was called at the start: an update may have put another in its place.
    program: AbsPath,
    sessions: Mutex<BTreeMap<SessionId, Arc<Session>>>,
    tasks: TaskTracker,
    building: tokio::sync::Mutex<()>,
}

impl Terminals {
    /// None yet.
    #[must_use]
    pub fn new(store: Store, podman: Podman, units: UserManager, config: LiveConfig) -> Self {
        let inner = Inner {
            store,
            podman,
            units,
            config,
            program: own_program(),
            sessions: Mutex::default(),
            tasks: TaskTracker::new(),
            building: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Session>>> {
        self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session, and gives it at once; what its program says comes to whoever watches.
    pub async fn open(&self, wanted: Wanted) -> Result<Arc<Session>, TerminalError> {
        let place = match &wanted.service {
            Some(service) => self.place_in(service).await?,
            None => Place::Isolated,
        };
        let session = self.admit(&wanted)?;
        tracing::info!(session = %session.id, actor = %wanted.actor, place = %place, "terminal opened");
        let this = self.clone();
        let kept = session.clone();
        self.inner.tasks.spawn(async move { this.keep(kept, place).await });
        Ok(session)
    }

    /// Enters a session into the table, where there is room for it.
    fn admit(&self, wanted: &Wanted) -> Result<Arc<Session>, TerminalError> {
        let config = self.inner.config.get();
        let most = config.shell.sessions;
        let mut table = self.table();
        if self.inner.tasks.is_closed() {
            return Err(TerminalError::Stopping);
        }
        if table.len() >= most as usize {
            return Err(TerminalError::Full(most));
        }
        if let Some(name) = &wanted.name
            && table.values().any(|session| session.name.as_ref() == Some(name) && !session.is_over())
        {
            return Err(TerminalError::Taken(name.clone()));
        }
        let id = loop {
            let id = random_id();
            if !table.contains_key(&id) {
                break id;
            }
        };
        let (name, service) = (wanted.name.clone(), wanted.service.clone());
        let session = Arc::new(Session::new(id.clone(), name, service, wanted.size, config.shell.patience));
        table.insert(id, session.clone());
        Ok(session)
    }

    /// All sessions, those that are over and not cleared away yet, too.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Session>> {
        self.table().values().cloned().collect()
    }

    /// The session of this id.
    pub fn session(&self, id: &SessionId) -> Result<Arc<Session>, TerminalError> {
        self.table().get(id).cloned().ok_or(TerminalError::Unknown)
    }

    /// A session's whole life.
    async fn keep(&self, session: Arc<Session>, place: Place) {
        let config = self.inner.config.get();
        let over = |problem: Option<Problem>| End { code: None, problem };
        let end = tokio::select! {
            ran = self.run(&session, &place) => match ran {
                Ok(code) => End { code: Some(code), problem: None },
                Err(error) => {
                    tracing::warn!(session = %session.id, "a terminal failed: {}", chain(&error));
                    over(Some(error.problem()))
                }
            },
            () = session.closing() => over(None),
            () = session.is_left(config.shell.detached, config.shell.idle) => {
                over(Some(Problem::new(Code::Cancelled, "nobody used the session any more")))
            }
        };
        tracing::info!(session = %session.id, place = %place, code = end.code, "terminal closed");
        session.finish(end);
        // It has its place in the table until nothing is left of it.
        self.end(&session, &place).await;
        self.table().remove(&session.id);
    }

    /// Ends all sessions; the agent stops.
    pub async fn stop(&self) {
        self.inner.tasks.close();
        for session in self.list() {
            session.finish(End { code: None, problem: Some(TerminalError::Stopping.problem()) });
            session.close();
        }
        if tokio::time::timeout(END, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!("{} terminal sessions are left to the next agent", self.inner.tasks.len());
        }
    }
}

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

/// Eight of the 32 letters of base32.
fn random_id() -> SessionId {
    loop {
        let bytes: [u8; 5] = rand::random();
        if let Ok(id) = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase().parse() {
            return id;
        }
    }
}
