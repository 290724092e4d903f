//! Deployments: each is carried out step by step, each step a row before the next begins, and the regular look ends what was
//! cut off.

#![warn(clippy::missing_errors_doc)]

mod due;
mod health;
mod kept;
mod log;
mod maintain;
mod making;
mod read;
mod requests;
mod room;
mod run;
mod starting;
mod troubles;
mod undo;
mod work;
mod write_down;

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Notify;

pub use read::Releases;
pub use requests::Pushed;
pub use troubles::{Task, Trouble};

pub use crate::store::{Cause, Deployment, NewDelivery, NewDeployment, NewOutcome, Outcome, State};

use crate::builds::{BuildError, Builds};
use crate::config::LiveConfig;
use crate::events::Events;
use crate::git::{GitError, Repositories};
use crate::host::Host;
use crate::journal::Journal;
use crate::names::MountError;
use crate::podman::Podman;
use crate::problem::{Code, Problem};
use crate::queue::Queue;
use crate::services::{ServiceError, Services};
use crate::store::{Store, StoreError};
use crate::units::UserManager;

/// Why a deployment did not come to its end.
#[derive(Debug, Error)]
pub enum DeployError {
    /// A part of the host, or the store.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The new release's unit.
    #[error("{0}")]
    Start(String),
    /// The new release's health.
    #[error("{0}")]
    Unhealthy(String),
    /// The new release's own health check.
    #[error("{0}")]
    CheckFails(String),
    /// The volumes that its image declares.
    #[error("the image's volumes can't be had: {0}")]
    Volumes(#[from] MountError),
    /// Every port of the range is taken.
    #[error("no port from {first} to {last} is free")]
    NoPort {
        /// The range's first port.
        first: u16,
        /// Its last one.
        last: u16,
    },
    /// What its row says already, from which it only has to be cleared away.
    #[error("{0}")]
    Noted(Problem),
    /// Somebody cancelled it.
    #[error("it was cancelled")]
    Cancelled,
    /// Its row has ended already, by a newer one or by a cancel.
    #[error("its row has ended already")]
    Ended,
}

impl From<StoreError> for DeployError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Ended(_) => Self::Ended,
            error => Self::Service(error.into()),
        }
    }
}

impl From<GitError> for DeployError {
    fn from(error: GitError) -> Self {
        Self::Service(error.into())
    }
}

impl DeployError {
    /// The problem that the deployment's row keeps.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Service(error) => error.problem(),
            Self::Build(error) => error.problem(),
            Self::Start(detail) => {
                Problem::new(Code::StartFailed, detail).with_hint("the last lines of the program tell why")
            }
            Self::Unhealthy(detail) => Problem::new(Code::Unhealthy, detail)
                .with_hint("the program must listen on 0.0.0.0 and the port in $PORT, and answer in time"),
            Self::CheckFails(detail) => Problem::new(Code::Unhealthy, detail).with_hint(
                "the image's HEALTHCHECK is run in the container, and must end with status 0; \
                 where the program needs longer until it does, set `health_timeout`",
            ),
            Self::Volumes(_) => Problem::new(Code::StartFailed, self.to_string())
                .with_hint("change the VOLUME lines of the Containerfile, or the setting `volumes`"),
            Self::NoPort { .. } => Problem::new(Code::Exhausted, self.to_string())
                .with_hint("widen `services.first_port` to `services.last_port` in the configuration"),
            Self::Noted(problem) => problem.clone(),
            Self::Cancelled | Self::Ended => Problem::cancelled(),
        }
    }

    /// Whether a part of the host was away, so that the same step may well go through once it is back.
    fn is_absence(&self) -> bool {
        !matches!(self, Self::Noted(_))
            && matches!(self.problem().code, Code::PodmanUnavailable | Code::SystemdUnavailable)
    }
}

/// What deployments are made of.
#[derive(Debug)]
pub struct Uses {
    /// The agent's state.
    pub store: Store,
    /// Podman's REST socket.
    pub podman: Podman,
    /// The service user's systemd manager.
    pub units: UserManager,
    /// The repositories.
    pub repositories: Repositories,
    /// The journal.
    pub journal: Journal,
    /// The doorbell.
    pub events: Events,
    /// The configuration.
    pub config: LiveConfig,
    /// What is asked to be deployed, and whose turn it is.
    pub queue: Queue,
    /// The services.
    pub services: Services,
    /// The builds.
    pub builds: Builds,
    /// The host itself.
    pub host: Host,
}

/// The deployments of this host. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Deploys {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    uses: Uses,
    troubles: troubles::Troubles,
    /// Rings where there is another configuration.
    reconfigured: Notify,
}

impl Deploys {
    /// The deployments; nothing happens until [`Deploys::run`] does.
    #[must_use]
    pub fn new(uses: Uses) -> Self {
        let (troubles, reconfigured) = (troubles::Troubles::default(), Notify::new());
        Self { inner: Arc::new(Inner { uses, troubles, reconfigured }) }
    }

    fn uses(&self) -> &Uses {
        &self.inner.uses
    }

    /// What the regular look could not do until now, and whether there is more of it than is remembered.
    #[must_use]
    pub fn troubles(&self) -> (Vec<Trouble>, bool) {
        self.inner.troubles.all()
    }

    /// Takes over what a new configuration says of how many builds run at once, and of how often all is looked after.
    pub fn reconfigure(&self) {
        self.inner.reconfigured.notify_one();
        self.uses().queue.places().resize(self.uses().config.get().builds.parallel as usize);
    }

    /// Lets go of everything under way. Units and builds go on; the next agent reads the rows and goes on with them.
    pub async fn stop(&self) {
        self.uses().queue.tasks().stop().await;
    }
}
