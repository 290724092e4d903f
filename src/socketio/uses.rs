//! What the streams are of.

use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::deploys::Deploys;
use crate::events::Events;
use crate::services::Services;
use crate::terminal::Terminals;

/// What the streams are of.
#[derive(Debug)]
pub struct Uses {
    /// The services.
    pub services: Services,
    /// The deployments.
    pub deploys: Deploys,
    /// The terminals.
    pub terminals: Terminals,
    /// Credentials, and the log of what was done with them.
    pub auth: Auth,
    /// The doorbell.
    pub events: Events,
    /// Cancelled when the agent ends, so that the streams say so.
    pub stopping: CancellationToken,
}
