//! What the host is looked at with.

use crate::builds::Builds;
use crate::config::LiveConfig;
use crate::journal::Journal;
use crate::podman::Podman;
use crate::store::Store;
use crate::units::UserManager;

/// What the host is looked at with.
#[derive(Debug)]
pub struct Uses {
    /// The agent's state.
    pub store: Store,
    /// Podman's REST socket.
    pub podman: Podman,
    /// The service user's systemd manager.
    pub units: UserManager,
    /// The journal.
    pub journal: Journal,
    /// The configuration.
    pub config: LiveConfig,
    /// The builds.
    pub builds: Builds,
}
