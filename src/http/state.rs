//! What the handlers share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::route::Table;
use super::spool::{self, Spool};
use super::unattended::Unattended;
use crate::auth::Auth;
use crate::config::{Config, LiveConfig};
use crate::deploys::Deploys;
use crate::host::Host;
use crate::names::HookKey;
use crate::services::Services;

/// The largest body, in bytes, of a call that takes no credential or brings it in the body. It is held before anybody is
/// known, and a passkey's answer has a few KiB.
const OPEN_BODY: u64 = 16 * 1024;
/// How much more than the largest push is read of one.
const PUSH_MARGIN_MIB: u64 = 16;

/// What the handlers call.
#[derive(Debug)]
pub struct Uses {
    /// The services.
    pub services: Services,
    /// The deployments.
    pub deploys: Deploys,
    /// The host itself.
    pub host: Host,
    /// Credentials, and the log of what was done with them.
    pub auth: Auth,
    /// The configuration.
    pub config: LiveConfig,
    /// Cancelled when the agent ends.
    pub stopping: CancellationToken,
}

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct State {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    uses: Uses,
    table: Table,
    spool: Spool,
    unattended: Unattended,
    /// What a hook's key is compared with where there is no such service.
    decoy: HookKey,
}

impl State {
    /// What answers the calls of `table` with these.
    pub(super) fn new(uses: Uses, table: Table) -> Self {
        let spool = Spool::default();
        let decoy = crate::services::new_hook_key();
        let unattended = Unattended::default();
        Self { inner: Arc::new(Inner { uses, table, spool, unattended, decoy }) }
    }

    /// Waits until `end` at most for what clients have asked for and not waited for. Nobody asks for anything more by then.
    pub async fn end_unattended(&self, end: tokio::time::Instant) {
        if tokio::time::timeout_at(end, self.unattended().end_all()).await.is_err() {
            tracing::info!("{} calls that nobody waits for are cut off", self.unattended().going_on());
        }
    }

    pub(super) fn services(&self) -> &Services {
        &self.inner.uses.services
    }

    pub(super) fn deploys(&self) -> &Deploys {
        &self.inner.uses.deploys
    }

    pub(super) fn host(&self) -> &Host {
        &self.inner.uses.host
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.inner.uses.auth
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.inner.uses.config.get()
    }

    pub(super) fn spool(&self) -> &Spool {
        &self.inner.spool
    }

    pub(super) fn unattended(&self) -> &Unattended {
        &self.inner.unattended
    }

    pub(super) fn decoy(&self) -> &HookKey {
        &self.inner.decoy
    }

    pub(super) fn stopping(&self) -> CancellationToken {
        self.inner.uses.stopping.clone()
    }

    pub(super) fn table(&self) -> Table {
        self.inner.table
    }

    /// How many bytes a path's body may have.
    #[must_use]
    pub fn body_limit(&self, path: &str) -> usize {
        let config = self.config();
        let bytes = if path.starts_with("/git/") {
            // Git itself refuses a push that is too large, with words that the person who pushes reads.
            config.git.max_push_mib.saturating_add(PUSH_MARGIN_MIB).saturating_mul(1024 * 1024)
        } else if path.starts_with("/hooks/") {
            spool::LARGEST as u64
        } else if self.table().is_open(path) {
            OPEN_BODY
        } else {
            config.limits.body_kib.saturating_mul(1024)
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
