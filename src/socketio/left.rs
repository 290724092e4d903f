//! What the terminals of the agent before left.

use std::collections::HashSet;

use crate::auth::{AuditEvent, Auth};
use crate::names::{Actor, SessionId};
use crate::problem::chain;
use crate::terminal::{Pace, TerminalError, Terminals};

/// Clears away what the terminals of the agent before left, and writes it down. Nobody waits for it: what can't be
/// cleared away is tried again, each session by itself.
pub(super) async fn clear(terminals: &Terminals, auth: &Auth) {
    let mut pace = Pace::default();
    let mut told = HashSet::new();
    while let Err(error) = clear_left(terminals, auth, &mut told).await {
        tracing::debug!("terminal sessions of the agent before are not cleared away: {}", chain(&error));
        pace.wait().await;
    }
}

/// Tries each once; the last failure. `told` holds the sessions of which one was in the log, and none where it is not
/// known which there are.
async fn clear_left(
    terminals: &Terminals,
    auth: &Auth,
    told: &mut HashSet<Option<SessionId>>,
) -> Result<(), TerminalError> {
    let mut cleared = Ok(());
    let mut failed = |session: Option<SessionId>, error: TerminalError| {
        if told.insert(session.clone()) {
            let session = session.as_ref().map(SessionId::as_str);
            tracing::warn!(session, "a session of the agent before is not cleared away yet: {}", chain(&error));
        }
        error
    };
    for session in terminals.left().await.map_err(|error| failed(None, error))? {
        match terminals.clear(&session).await {
            Ok(()) => auth.done(left(&session)).await,
            Err(error) => cleared = Err(failed(Some(session), error)),
        }
    }
    cleared
}

/// The end of a session that the agent before left.
fn left(session: &SessionId) -> AuditEvent {
    AuditEvent {
        actor: Some(Actor::Agent),
        address: None,
        action: "/term close".into(),
        target: format!("session {session}"),
        result: "done".into(),
        detail: Some("the agent before had not ended it".into()),
    }
}
