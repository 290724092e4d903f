//! Who may call what: the table says how each route is locked, and this is the only place that opens a lock.

use super::State;
use super::record::Record;
use super::stream::Ends;
use super::table::Route;
use crate::auth::{Identity, Peer, Presented, Way};
use crate::connection::Connection;
use crate::names::{NameError, Scope, ServiceName};
use crate::problem::{Code, Problem, chain};

/// How a route is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Anybody may call it.
    Open,
    /// Whoever shows the key of what the path names, which only the handler knows. A wrong key finds nothing there.
    Key,
    /// Whoever is signed in, whatever it may do: what concerns its own session only.
    Own,
    /// Whoever may read, the service that the path names or the whole host.
    Read,
    /// Whoever may read anything: a list, which holds the services alone that the one who asks may see.
    List,
    /// The same as `Read` for deploying.
    Deploy,
    /// The same for everything, secrets too.
    Admin,
    /// Whoever may do everything, and whoever has an enrolment link's secret: to register a passkey.
    Enroll,
    /// A process on the host over the unix socket: root and the service user's group.
    Local,
    /// The git password, or a token, in Basic authentication, which is what git can send. A fetch is reading, a push is
    /// deploying.
    Git,
}

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
        Lock::Git => Way::Git,
        Lock::Enroll => Way::Enroll,
        _ => Way::Web,
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

/// When an answer that goes on must end: when whoever asked may not ask any more, or the agent stops.
pub async fn ends(request: &tide::Request<State>, route: &Route, identity: Option<&Identity>) -> Result<Ends, Problem> {
    let state = request.state();
    let stays = match (identity, scope(request, route.lock)?) {
        (Some(identity), Some(scope)) => {
            let service = match route.lock {
                Lock::List => identity.grant.service.clone(),
                _ => concerned(request, route.path).await?,
            };
            Some((state.auth().stay(identity.clone()), scope, service))
        }
        (Some(identity), None) => {
            Some((state.auth().stay(identity.clone()), Scope::Read, identity.grant.service.clone()))
        }
        (None, _) => None,
    };
    Ok(Ends { stopping: state.stopping(), stays })
}

fn only_local() -> Problem {
    Problem::new(Code::Forbidden, "only a process on the host may do this")
        .with_hint("run `podkeeper` on the host, as root or in the group podkeeper and without --host")
}

/// What the server read from the request's head.
pub fn presented(request: &tide::Request<State>) -> Result<&Presented, Problem> {
    request
        .ext::<http::Extensions>()
        .and_then(|extensions| extensions.get())
        .ok_or_else(|| Problem::new(Code::Internal, "the request came by an unknown way"))
}

/// The connection that carries it.
fn connection(request: &tide::Request<State>) -> Option<&Connection> {
    request.ext::<http::Extensions>()?.get()
}

/// A part of the path, decoded.
pub fn param(request: &tide::Request<State>, name: &str) -> Result<String, Problem> {
    let raw = request.param(name).map_err(|_| Problem::new(Code::NotFound, "there is nothing here"))?;
    let text = percent_encoding::percent_decode_str(raw).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| Problem::new(Code::BadRequest, "the path is not UTF-8"))
}

/// Whether git asks for what a push is made of.
pub fn pushes(request: &tide::Request<State>) -> Result<bool, Problem> {
    const PUSH: &str = "git-receive-pack";
    let query = request.url().query().unwrap_or_default().as_bytes();
    Ok(param(request, "path")? == PUSH || form_urlencoded::parse(query).any(|(_, value)| value == PUSH))
}

/// The service that a request concerns; none where it is the host.
async fn concerned(request: &tide::Request<State>, path: &str) -> Result<Option<ServiceName>, Problem> {
    let refused = |error: NameError| error.problem();
    if path.starts_with("/services/:name") {
        return param(request, "name")?.parse().map(Some).map_err(refused);
    }
    if path.starts_with("/git/:repository") {
        let repository = param(request, "repository")?;
        return repository.trim_end_matches(".git").parse().map(Some).map_err(refused);
    }
    if path.starts_with("/deployments/:id") {
        let id = param(request, "id")?.parse();
        let id = id.map_err(|error: NameError| Problem::new(Code::BadRequest, error.to_string()))?;
        // One that isn't there and another service's are the same to whoever may see neither.
        return request.state().deploys().service_of(id).await.map_err(|error| {
            tracing::error!("can't look a deployment up: {}", chain(&error));
            error.problem()
        });
    }
    Ok(None)
}
