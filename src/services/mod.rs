//! The services: made, set, looked at, brought to what is wanted of them, removed.

mod create;
pub mod env;
pub mod plan;
mod reconcile;
mod remove;
pub mod spec;
pub mod status;

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError, Weak};

use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use create::{Availability, NewSource, new_hook_key};
pub use reconcile::HostView;
pub use remove::{Removed, removal_mark};

use crate::config::LiveConfig;
use crate::events::Events;
use crate::git::{GitError, Repositories};
use crate::journal::{Journal, JournalError};
use crate::names::{NameError, ServiceName};
use crate::podman::{Podman, PodmanError};
use crate::problem::{Code, Problem};
use crate::proxy::{ProxyError, Routes};
use crate::store::{Store, StoreError};
use crate::templates::{TemplateError, Templates};
use crate::units::{Quadlets, UnitsError, UserManager};

/// The parts of the host that services are made of, each built once by the composition root.
#[derive(Debug, Clone)]
pub struct Adapters {
    /// The agent's state.
    pub store: Store,
    /// Podman's REST socket.
    pub podman: Podman,
    /// The service user's systemd manager.
    pub units: UserManager,
    /// The Quadlet files.
    pub quadlets: Quadlets,
    /// The proxy's routing table.
    pub routes: Routes,
    /// The repositories.
    pub repositories: Repositories,
    /// The templates.
    pub templates: Templates,
    /// The journal.
    pub journal: Journal,
    /// The doorbell.
    pub events: Events,
    /// The configuration.
    pub config: LiveConfig,
    /// Held while a service's variables change.
    pub env_locks: Locks,
    /// What units' changes have told.
    pub live: status::LiveUnits,
}

/// A lock a service.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    locks: Arc<StdMutex<HashMap<ServiceName, Weak<Mutex<()>>>>>,
}

impl Locks {
    /// Waits for the lock of `service` and holds it.
    pub async fn hold(&self, service: &ServiceName) -> OwnedMutexGuard<()> {
        self.of(service).lock_owned().await
    }

    /// Holds the lock of `service` unless somebody else does.
    #[must_use]
    pub fn try_hold(&self, service: &ServiceName) -> Option<OwnedMutexGuard<()>> {
        self.of(service).try_lock_owned().ok()
    }

    fn of(&self, service: &ServiceName) -> Arc<Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        let known = locks.get(service).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let lock = Arc::new(Mutex::new(()));
            locks.insert(service.clone(), Arc::downgrade(&lock));
            lock
        })
    }
}

/// Why something about a service can't be done.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The store.
    #[error(transparent)]
    Store(StoreError),
    /// Podman.
    #[error(transparent)]
    Podman(PodmanError),
    /// systemd.
    #[error(transparent)]
    Units(UnitsError),
    /// The routing table.
    #[error(transparent)]
    Proxy(ProxyError),
    /// Git.
    #[error(transparent)]
    Git(GitError),
    /// The journal.
    #[error(transparent)]
    Journal(JournalError),
    /// A template.
    #[error(transparent)]
    Template(TemplateError),
    /// A name.
    #[error(transparent)]
    Name(NameError),
    /// A file of the agent's own.
    #[error("can't {what}")]
    File {
        /// What was tried, as in "remove the build's folder".
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What a client gets as it is.
    #[error(transparent)]
    Problem(Problem),
}

macro_rules! from {
    ($($error:ident => $variant:ident,)+) => {
        $(impl From<$error> for ServiceError {
            fn from(source: $error) -> Self {
                Self::$variant(source)
            }
        })+
    };
}
from! {
    StoreError => Store,
    PodmanError => Podman,
    UnitsError => Units,
    ProxyError => Proxy,
    GitError => Git,
    JournalError => Journal,
    TemplateError => Template,
    NameError => Name,
    Problem => Problem,
}

impl ServiceError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
            Self::Podman(error) => error.problem(),
            Self::Units(error) => error.problem(),
            Self::Proxy(error) => error.problem(),
            Self::Git(error) => error.problem(),
            Self::Journal(error) => error.problem(),
            Self::Template(error) => error.problem(),
            Self::Name(error) => error.problem(),
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Problem::disk_full(),
            Self::File { what, .. } => Problem::new(Code::Internal, format!("the agent could not {what}")),
            Self::Problem(problem) => problem.clone(),
        }
    }
}
