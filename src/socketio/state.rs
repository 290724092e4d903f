//! What the handlers and whoever lets clients in share.

use std::sync::Arc;

use socketioxide::extract::SocketRef;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::feed::Feed;
use super::lines::Lines;
use super::uses::Uses;
use crate::auth::Auth;
use crate::deploys::Deploys;
use crate::services::Services;
use crate::terminal::Terminals;

/// What they share. A clone is another handle.
#[derive(Debug, Clone)]
pub(super) struct State {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    uses: Uses,
    feed: Feed,
    /// The streams, which say goodbye when the agent stops.
    streams: TaskTracker,
    /// All other tasks of clients.
    tasks: TaskTracker,
    lines: Lines,
}

impl State {
    pub(super) fn new(uses: Uses, lines: Lines) -> Self {
        let (streams, tasks) = (TaskTracker::new(), TaskTracker::new());
        Self { inner: Arc::new(Inner { uses, feed: Feed::default(), streams, tasks, lines }) }
    }

    /// Feeds the clients, for ever.
    pub(super) async fn feed_all(&self) {
        self.inner.feed.run(&self.inner.uses).await;
    }

    /// The services.
    pub(super) fn services(&self) -> &Services {
        &self.inner.uses.services
    }

    /// The deployments.
    pub(super) fn deploys(&self) -> &Deploys {
        &self.inner.uses.deploys
    }

    /// Credentials, and the log of what was done with them.
    pub(super) fn auth(&self) -> &Auth {
        &self.inner.uses.auth
    }

    /// The terminals.
    pub(super) fn terminals(&self) -> &Terminals {
        &self.inner.uses.terminals
    }

    /// Cancelled when the agent stops.
    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.inner.uses.stopping
    }

    /// Where streams run, so that each can say that the agent stops.
    pub(super) fn streams(&self) -> &TaskTracker {
        &self.inner.streams
    }

    /// Whether what was written last to `socket` waits for being read.
    pub(super) fn is_full(&self, socket: &SocketRef) -> bool {
        self.inner.lines.is_full(socket)
    }

    /// What everybody who listens is shown.
    pub(super) fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    /// Where other tasks of clients run.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    /// Which connection carries whom.
    pub(super) fn lines(&self) -> &Lines {
        &self.inner.lines
    }
}
