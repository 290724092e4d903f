//! The parts of the program, each built once of those below it.

use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::builds::Builds;
use crate::config::LiveConfig;
use crate::deploys::{self, Deploys};
use crate::events::Events;
use crate::git::Repositories;
use crate::host::{self, Host};
use crate::journal::Journal;
use crate::podman::Podman;
use crate::proxy::Routes;
use crate::queue::Queue;
use crate::services::{self, Services};
use crate::store::{Store, StoreError};
use crate::templates::Templates;
use crate::terminal::Terminals;
use crate::units::{Quadlets, UserManager};
use crate::{api, http, socketio};

/// What the agent is made of. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The configuration.
    pub config: LiveConfig,
    /// The agent's state.
    pub store: Store,
    /// The doorbell.
    pub events: Events,
    /// What is asked to be deployed, and whose turn it is.
    pub queue: Queue,
    /// The services.
    pub services: Services,
    /// The host itself.
    pub host: Host,
    /// The deployments.
    pub deploys: Deploys,
    /// Credentials, and the log of what was done with them.
    pub auth: Auth,
    /// The terminals.
    pub terminals: Terminals,
    /// Cancelled when the agent stops.
    pub stopping: CancellationToken,
}

impl Parts {
    /// Builds them as the configuration says. Nothing of them runs yet.
    ///
    /// # Errors
    /// The store can't be opened.
    pub fn build(config: LiveConfig) -> Result<Self, StoreError> {
        let now = config.get();
        let journal = Journal::new(now.paths.journal.clone().map(Into::into));
        let store = Store::open(&now.paths.store())?;
        let podman = Podman::new(now.host.podman_socket().into(), now.paths.logins());
        let units = UserManager::new(now.host.bus_socket(), now.waits);
        let repositories = Repositories::new(config.clone());
        let events = Events::new();
        let builds = Builds::new(podman.clone(), units.clone(), config.clone());
        let queue = Queue::new(store.clone(), events.clone(), now.builds.parallel as usize);
        let services = Services::new(services::Uses {
            store: store.clone(),
            podman: podman.clone(),
            units: units.clone(),
            quadlets: Quadlets::new(now.paths.quadlets.to_path_buf(), now.paths.user_units()),
            routes: Routes::new(now.paths.routes.to_path_buf()),
            repositories: repositories.clone(),
            templates: Templates::new(now.paths.templates.to_path_buf()),
            journal: journal.clone(),
            events: events.clone(),
            config: config.clone(),
            queue: queue.clone(),
        });
        let host = Host::new(host::Uses {
            store: store.clone(),
            podman: podman.clone(),
            units: units.clone(),
            journal: journal.clone(),
            config: config.clone(),
            builds: builds.clone(),
        });
        let deploys = Deploys::new(deploys::Uses {
            store: store.clone(),
            podman: podman.clone(),
            units: units.clone(),
            repositories,
            journal,
            events: events.clone(),
            config: config.clone(),
            queue: queue.clone(),
            services: services.clone(),
            builds,
            host: host.clone(),
            read_file: api::repository::read,
        });
        let auth = Auth::new(store.clone(), events.clone(), config.clone());
        let terminals = Terminals::new(store.clone(), podman, units, config.clone());
        let stopping = CancellationToken::new();
        Ok(Self { config, store, events, queue, services, host, deploys, auth, terminals, stopping })
    }

    /// What the interface over HTTP calls.
    #[must_use]
    pub fn for_http(&self) -> http::Uses {
        http::Uses {
            services: self.services.clone(),
            deploys: self.deploys.clone(),
            host: self.host.clone(),
            auth: self.auth.clone(),
            config: self.config.clone(),
            stopping: self.stopping.clone(),
        }
    }

    /// What the streams are of.
    #[must_use]
    pub fn for_streams(&self) -> socketio::Uses {
        socketio::Uses {
            services: self.services.clone(),
            deploys: self.deploys.clone(),
            terminals: self.terminals.clone(),
            auth: self.auth.clone(),
            events: self.events.clone(),
            stopping: self.stopping.clone(),
        }
    }
}
