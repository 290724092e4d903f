//! The doorbell: facts that came up, on one closed enum. The store is the truth; an event only says "look again".

use tokio::sync::broadcast;

use crate::names::{DeploymentId, ServiceName};

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A service was made or changed: its settings, its releases or its unit's state.
    Service(ServiceName),
    /// A service is gone.
    Removed(ServiceName),
    /// A deployment took a step.
    Deployment(ServiceName, DeploymentId),
    /// Anything may have changed: maintenance has passed, and what was missed before is seen now.
    Any,
    /// A session or a token has ended or may do something else now: whoever was let in by one looks again.
    Credentials,
}

/// Where events are heard. A listener that lags more than [`Events::BACKLOG`] events loses the oldest and is told so.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Event>,
}

impl Events {
    /// How many events are kept for a slow listener.
    pub const BACKLOG: usize = 1024;

    /// A hub without listeners.
    #[must_use]
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(Self::BACKLOG) }
    }

    /// Ring. That nobody listens is fine.
    pub fn publish(&self, event: Event) {
        let _ = self.sender.send(event);
    }

    /// Listen from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}
