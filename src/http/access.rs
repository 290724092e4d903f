//! Who may call what: the table says how each route is locked, and this is the only place that opens a lock.

use std::sync::Arc;

use super::record::Record;
use super::request::{concerned, connection, presented, pushes};
use super::route::{Lock, Route};
use super::state::State;
use crate::auth::{Accepts, Identity, Lease, Peer};
use crate::names::Scope;
use crate::problem::{Code, Problem};

/// Who asks, where the lock opens. The record learns who it is even where it doesn't.
pub async fn authorise(
    request: &tide::Request<State>,
    route: &Route,
    record: &mut Record,
) -> Result<Option<Identity>, Problem> {
    let lock = route.lock;
    if matches!(lock, Lock::Open | Lock::Key) {
        return Ok(None);
    }
    let presented = presented(request)?;
    let way = match lock {
        Lock::Git => Accepts::Git,
        Lock::Enroll => Accepts::Enroll,
        _ => Accepts::Web,
    };
    if lock == Lock::Local && !matches!(presented.peer, Peer::Local { .. }) {
        return Err(only_local());
    }
    let Some(identity) = request.state().auth().identify(presented, way).await? else {
        return Err(match lock {
            Lock::Local => only_local(),
            Lock::Git => Problem::new(Code::NotSignedIn, "git wants the git password, or a token as the password").with_hint(
                "`podkeeper token create --name NAME` on the host makes a token; any user name will do",
            ),
            Lock::Enroll => Problem::new(Code::NotSignedIn, "you are not signed in, and no enrolment link let you in")
                .with_hint("a link is good once and for ten minutes; `podkeeper enroll` on the host makes one"),
            _ => presented.nobody().with_hint(
                "`podkeeper token create --name NAME` on the host makes a token; send it as `Authorization: Bearer`, or \
                 sign in with it",
            ),
        });
    };
    record.comes_from(&identity.actor);
    if let Some(connection) = connection(request) {
        request.state().auth().know(presented, connection);
    }
    let Some(scope) = scope(request, lock)? else { return Ok(Some(identity)) };
    let service = match &identity.grant.service {
        Some(own) if lock == Lock::List => Some(own.clone()),
        Some(_) => concerned(request, route.path).await?,
        None => None,
    };
    identity.allows(scope, service.as_ref())?;
    Ok(Some(identity))
}

/// What a lock takes; none where it asks for no scope.
fn scope(request: &tide::Request<State>, lock: Lock) -> Result<Option<Scope>, Problem> {
    Ok(match lock {
        Lock::Open | Lock::Key | Lock::Own => None,
        Lock::Read | Lock::List => Some(Scope::Read),
        Lock::Deploy => Some(Scope::Deploy),
        Lock::Admin | Lock::Enroll | Lock::Local => Some(Scope::Admin),
        Lock::Git if pushes(request)? => Some(Scope::Deploy),
        Lock::Git => Some(Scope::Read),
    })
}

/// For how long an answer that goes on may go on.
pub async fn lease(
    request: &tide::Request<State>,
    route: &Route,
    identity: Option<&Identity>,
) -> Result<Lease, Problem> {
    let state = request.state();
    let lease = Lease::default().until(state.stopping(), "the agent is stopping");
    let Some(identity) = identity else { return Ok(lease) };
    let (scope, service) = match scope(request, route.lock)? {
        None => (Scope::Read, identity.grant.service.clone()),
        Some(scope) if route.lock == Lock::List => (scope, identity.grant.service.clone()),
        Some(scope) => (scope, concerned(request, route.path).await?),
    };
    Ok(lease.of(Arc::new(state.auth().stay(identity.clone())), scope, service))
}

fn only_local() -> Problem {
    Problem::new(Code::Forbidden, "only a process on the host may do this")
        .with_hint("run `podkeeper` on the host, as root or in the group podkeeper and without --host")
}
