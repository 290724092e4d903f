//! The services: made, set, looked at, brought to what is wanted of them, removed.

#![warn(clippy::missing_errors_doc)]

mod ask_health;
mod begins;
mod change;
mod cleanup_flag;
mod create;
pub mod env;
pub mod figures;
#[cfg(test)]
mod fixture;
mod health;
mod hook;
pub mod limits;
mod listening;
mod live;
pub mod log;
mod objects;
mod pending_reconciles;
pub mod plan;
mod port;
mod read;
mod reconcile;
mod refused;
mod release;
mod remove;
mod repository;
mod secrets;
mod settle;
mod source;
pub mod spec;
pub mod status;
mod unasked;
mod update_env;
mod watch;

use thiserror::Error;
use tokio::sync::broadcast;

pub use cleanup_flag::CleanupFlag;
pub use create::{Availability, NewSource};
pub use hook::new_hook_key;
pub use reconcile::{ClearUp, HostView};
pub use remove::Removed;
pub use update_env::{EnvPlan, EnvUpdate};

pub use crate::git::{GitRequest, HostKeys, PushId, ShownKey};
pub use crate::store::{Service, Settings, Source};

use crate::config::LiveConfig;
use crate::events::Events;
use crate::git::{GitError, Repositories};
use crate::journal::{Checked, Journal, JournalError};
use crate::names::NameError;
use crate::podman::{Podman, PodmanError};
use crate::problem::{Code, Problem};
use crate::proxy::{ProxyError, Routes};
use crate::queue::{Locks, Queue};
use crate::store::{Store, StoreError};
use crate::templates::{TemplateError, Templates};
use crate::units::{Quadlets, UnitsError, UserManager};
use begins::Begins;
use live::LiveUnits;
use pending_reconciles::PendingReconciles;
use refused::Refused;
use unasked::Unasked;

/// How many health checks that were run wait to be told.
const CHECKS: usize = 64;

/// What services are made of.
#[derive(Debug, Clone)]
pub struct Uses {
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
    /// What is asked to be deployed, and whose turn it is.
    pub queue: Queue,
}

/// The services of this host. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Services {
    uses: Uses,
    /// Held while a service's variables change.
    env_locks: Locks,
    /// Held while it is looked where a service's branch is.
    branch_locks: Locks,
    begins: Begins,
    live: LiveUnits,
    /// Deliveries with a wrong key.
    refused: Refused,
    /// Whose health check was run.
    checks: broadcast::Sender<Checked>,
    unasked: Unasked,
    pending_reconciles: PendingReconciles,
    cleanup_flag: CleanupFlag,
}

impl Services {
    /// The services that these parts make.
    #[must_use]
    pub fn new(uses: Uses) -> Self {
        Self {
            uses,
            env_locks: Locks::default(),
            branch_locks: Locks::default(),
            begins: Begins::default(),
            live: LiveUnits::default(),
            refused: Refused::default(),
            checks: broadcast::Sender::new(CHECKS),
            unasked: Unasked::default(),
            pending_reconciles: PendingReconciles::default(),
            cleanup_flag: CleanupFlag::default(),
        }
    }

    /// Whether something of them may lie about that only a look at all of the host finds.
    #[must_use]
    pub fn cleanup_flag(&self) -> &CleanupFlag {
        &self.cleanup_flag
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
