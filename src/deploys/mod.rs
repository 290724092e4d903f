//! Deployments: each is carried out step by step, each step a row before the next begins, and maintenance ends what was
//! cut off.

#![warn(clippy::missing_errors_doc)]

mod due;
mod error;
mod explain;
mod health;
mod kept;
mod known;
mod log;
mod maintain;
mod making;
mod read;
mod requests;
mod room;
mod run;
mod starting;
mod take_place;
mod troubles;
mod undo;
mod watched;
mod work;
mod write_down;

use std::sync::Arc;

use tokio::sync::Notify;

pub use error::DeployError;
pub use read::Releases;
pub use requests::Pushed;
pub use troubles::{Task, Trouble};

pub use crate::queue::WaitsFor;
pub use crate::store::{Cause, Deployment, DeploymentState, NewDelivery, NewDeployment, NewOutcome, Outcome};

use crate::builds::{Builds, ReadFile};
use crate::config::LiveConfig;
use crate::events::Events;
use crate::git::Repositories;
use crate::host::Host;
use crate::journal::Journal;
use crate::podman::Podman;
use crate::queue::Queue;
use crate::services::Services;
use crate::store::Store;
use crate::units::UserManager;

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
    /// What reads a repository's `podkeeper.toml`.
    pub read_file: ReadFile,
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

    /// What maintenance could not do until now, and whether there is more of it than is remembered.
    #[must_use]
    pub fn troubles(&self) -> (Vec<Trouble>, bool) {
        self.inner.troubles.all()
    }

    /// Takes over what a new configuration says of how many builds run at once, and of how often all is looked after.
    pub fn reconfigure(&self) {
        self.inner.reconfigured.notify_one();
        self.uses().queue.permits().resize(self.uses().config.get().builds.parallel as usize);
    }

    /// Lets go of everything under way. Units and builds go on; the next agent reads the rows and goes on with them.
    pub async fn stop(&self) {
        self.uses().queue.tasks().stop().await;
    }
}
