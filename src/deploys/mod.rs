//! Deployments: one slot a service, each step a row before the next begins, and everything that must not happen beside
//! a deployment of the same service (stopping it, removing it, bringing it back to what is wanted) in that slot too.

mod end;
mod health;
mod kept;
mod log;
mod maintain;
mod pauses;
mod places;
mod port;
mod requests;
mod run;
mod settle;
mod slot;
mod troubles;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use log::{LogLine, LogPart, ServiceLog, ended};
pub use requests::EnvUpdate;
pub use troubles::{Task, Trouble};

use crate::builds::{BuildError, Builds};
use crate::events::Event;
use crate::git::GitError;
use crate::host::Host;
use crate::names::{DeploymentId, MountError};
use crate::problem::{Code, Problem};
use crate::services::{Adapters, Locks, ServiceError};
use crate::store::{Deployment, StoreError};

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
            Self::Volumes(_) => Problem::new(Code::StartFailed, self.to_string())
                .with_hint("change the VOLUME lines of the Containerfile, or the setting `volumes`"),
            Self::NoPort { .. } => Problem::new(Code::Exhausted, self.to_string())
                .with_hint("widen `services.first_port` to `services.last_port` in the configuration"),
            Self::Noted(problem) => problem.clone(),
            Self::Cancelled | Self::Ended => Problem::new(Code::Cancelled, "it was cancelled"),
        }
    }

    /// Whether a part of the host was away, so that the same step may well go through once it is back.
    fn is_absence(&self) -> bool {
        !matches!(self, Self::Noted(_))
            && matches!(self.problem().code, Code::PodmanUnavailable | Code::SystemdUnavailable)
    }
}

/// The deployments of this host. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Deploys {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: Adapters,
    builds: Builds,
    host: Host,
    slots: slot::Slots,
    /// Held by whoever changes what of a service runs.
    turns: Locks,
    places: places::Places,
    untidy: maintain::Untidy,
    unsettled: settle::Unsettled,
    troubles: troubles::Troubles,
    /// Rings where there is another configuration.
    reconfigured: Notify,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Deploys {
    /// The deployments; nothing happens until [`Deploys::maintain`] runs or somebody asks for one.
    #[must_use]
    pub fn new(parts: Adapters, builds: Builds) -> Self {
        let parallel = parts.config.get().builds.parallel as usize;
        let host = Host::new(parts.clone(), builds.clone());
        Self {
            inner: Arc::new(Inner {
                parts,
                builds,
                host,
                slots: slot::Slots::default(),
                turns: Locks::default(),
                places: places::Places::new(parallel),
                untidy: maintain::Untidy::default(),
                unsettled: settle::Unsettled::default(),
                troubles: troubles::Troubles::default(),
                reconfigured: Notify::new(),
                stopping: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The parts of the host.
    #[must_use]
    pub fn parts(&self) -> &Adapters {
        &self.inner.parts
    }

    /// The host itself.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.inner.host
    }

    /// Lets go of everything under way. Units and builds go on; the next agent reads the rows and goes on with them.
    pub async fn stop(&self) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Waits until the deployment has ended or `limit` is over, and tells how it stands then.
    pub async fn wait(&self, id: DeploymentId, limit: Duration) -> Result<Deployment, ServiceError> {
        let mut events = self.parts().events.subscribe();
        let end = tokio::time::Instant::now() + limit;
        loop {
            let deployment = self.parts().store.deployment(id).await?;
            if deployment.state.is_final() {
                return Ok(deployment);
            }
            // A lost event costs at most a second.
            let look = end.min(tokio::time::Instant::now() + Duration::from_secs(1));
            let heard = tokio::time::timeout_at(look, async {
                loop {
                    match events.recv().await {
                        Ok(Event::Deployment(_, heard)) if heard != id => {}
                        Ok(Event::Deployment(..)) | Err(_) => break,
                        Ok(_) => {}
                    }
                }
            });
            if heard.await.is_err() && tokio::time::Instant::now() >= end {
                return Ok(self.parts().store.deployment(id).await?);
            }
        }
    }

    fn tell(&self, deployment: &Deployment) {
        self.parts().events.publish(Event::Deployment(deployment.service.clone(), deployment.id));
    }
}
