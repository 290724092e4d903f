//! Terminals: the isolated shell, and shells in services' containers. Sessions live in the agent, and end with it; what
//! a killed agent left behind is cleared away by the next one.

mod error;
mod pace;
mod pty;
mod reap;
mod screen;
mod session;
mod shell;
mod target;
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;

pub use error::{Size, TerminalError};
pub use pace::Pace;
pub use reap::reap;
pub use session::{Session, Viewer};
pub use window::{End, View};

use crate::config::LiveConfig;
use crate::names::{AbsPath, Actor, ServiceName, SessionId, SessionName};
use crate::podman::Podman;
use crate::problem::{Code, Problem, chain};
use crate::store::Store;
use crate::units::{UserManager, own_program};
use target::Target;

/// How long the sessions may take to end when the agent stops.
const END: Duration = Duration::from_secs(3);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct SessionRequest {
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
    pub async fn open(&self, wanted: SessionRequest) -> Result<Arc<Session>, TerminalError> {
        let target = match &wanted.service {
            Some(service) => self.target_in(service).await?,
            None => Target::Isolated,
        };
        let session = self.admit(&wanted)?;
        tracing::info!(session = %session.id, actor = %wanted.actor, target = %target, "terminal opened");
        let this = self.clone();
        let kept = session.clone();
        self.inner.tasks.spawn(async move { this.keep(kept, target).await });
        Ok(session)
    }

    /// Enters a session into the table, where there is room for it.
    fn admit(&self, wanted: &SessionRequest) -> Result<Arc<Session>, TerminalError> {
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
    async fn keep(&self, session: Arc<Session>, target: Target) {
        let config = self.inner.config.get();
        let over = |problem: Option<Problem>| End { code: None, problem };
        let end = tokio::select! {
            ran = self.run(&session, &target) => match ran {
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
        tracing::info!(session = %session.id, target = %target, code = end.code, "terminal closed");
        session.finish(end);
        // It has its place in the table until nothing is left of it.
        self.end(&session, &target).await;
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

/// Eight of the 32 letters of base32.
fn random_id() -> SessionId {
    loop {
        let bytes: [u8; 5] = rand::random();
        if let Ok(id) = data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase().parse() {
            return id;
        }
    }
}
