//! The REST interface, git and the dashboard over HTTP: hyper carries, tide routes.
//!
//! Each route stands once, in [`table`], with its lock; nothing is authorised anywhere else.

mod access;
mod body;
mod bridge;
mod extract;
mod gate;
mod line;
mod linger;
mod openapi;
mod record;
mod respond;
mod routes;
mod server;
mod sockets;
mod spool;
mod stream;
pub mod table;
mod unattended;

use std::pin::Pin;
use std::sync::Arc;

use tide::Response;
use tokio_util::sync::CancellationToken;

pub use access::Lock;
pub use body::BodyError;
pub use bridge::{AnswerBody, Bridge};
pub use linger::RequestBody;
pub use server::Server;
pub use sockets::Listeners;

use crate::auth::{Auth, Identity, Presented};
use crate::config::{Config, LiveConfig};
use crate::deploys::Deploys;
use crate::host::Host;
use crate::names::{Actor, HookKey, Scope, ServiceName};
use crate::problem::{Code, Problem};
use crate::services::Services;
use record::Record;
use respond::Head;
use table::Route;

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
    spool: spool::Spool,
    unattended: unattended::Unattended,
    /// What a hook's key is compared with where there is no such service.
    decoy: HookKey,
}

impl State {
    /// What answers with these. Streams end when `uses.stopping` is cancelled.
    #[must_use]
    pub fn new(uses: Uses) -> Self {
        let spool = spool::Spool::default();
        let decoy = crate::services::new_hook_key();
        let unattended = unattended::Unattended::default();
        Self { inner: Arc::new(Inner { uses, spool, unattended, decoy }) }
    }

    /// Waits until `end` at most for what clients have asked for and not waited for. Nobody asks for anything more by then.
    pub async fn end_unattended(&self, end: tokio::time::Instant) {
        if tokio::time::timeout_at(end, self.unattended().end_all()).await.is_err() {
            tracing::info!("{} calls that nobody waits for are cut off", self.unattended().going_on());
        }
    }

    fn services(&self) -> &Services {
        &self.inner.uses.services
    }

    fn deploys(&self) -> &Deploys {
        &self.inner.uses.deploys
    }

    fn host(&self) -> &Host {
        &self.inner.uses.host
    }

    fn auth(&self) -> &Auth {
        &self.inner.uses.auth
    }

    fn config(&self) -> Arc<Config> {
        self.inner.uses.config.get()
    }

    fn spool(&self) -> &spool::Spool {
        &self.inner.spool
    }

    fn unattended(&self) -> &unattended::Unattended {
        &self.inner.unattended
    }

    fn decoy(&self) -> &HookKey {
        &self.inner.decoy
    }

    fn stopping(&self) -> CancellationToken {
        self.inner.uses.stopping.clone()
    }
}

/// A request whose lock was opened.
pub struct Call {
    request: tide::Request<State>,
    route: &'static Route,
    identity: Option<Identity>,
    /// Cancelled when the client has left.
    gone: CancellationToken,
}

impl Call {
    fn state(&self) -> &State {
        self.request.state()
    }

    /// Who asks. Every locked route has somebody.
    fn actor(&self) -> Result<Actor, Problem> {
        Ok(self.identity()?.actor.clone())
    }

    /// Who asks, with what it may do.
    fn identity(&self) -> Result<&Identity, Problem> {
        self.identity.as_ref().ok_or_else(|| Problem::new(Code::NotSignedIn, "you are not signed in"))
    }

    /// When an answer that goes on must end.
    async fn ends(&self) -> Result<stream::Ends, Problem> {
        access::ends(&self.request, self.route, self.identity.as_ref()).await
    }

    /// Whether whoever asks may see `service`, for what lists several.
    fn sees(&self, service: &ServiceName) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.allows(Scope::Read, Some(service)).is_ok())
    }

    /// Counts a call that anybody may make.
    fn count_open_call(&self) -> Result<(), Problem> {
        self.state().auth().open_call(self.presented()?)
    }

    /// What the request presents of who sends it.
    fn presented(&self) -> Result<&Presented, Problem> {
        access::presented(&self.request)
    }

    /// A page elsewhere must sign nobody in or out, not even with a token of its own. Programs send no `Origin`.
    fn own_page(&self) -> Result<(), Problem> {
        let presented = self.presented()?;
        if presented.origin.is_some() || presented.fetch_site.is_some() {
            self.state().auth().same_origin(presented)?;
        }
        Ok(())
    }

    /// A part of the path, decoded.
    fn param(&self, name: &str) -> Result<String, Problem> {
        access::param(&self.request, name)
    }

    /// The service that the path names.
    fn service(&self) -> Result<ServiceName, Problem> {
        self.param("name")?.parse().map_err(|error: crate::names::NameError| error.problem())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name).map(|value| value.as_str())
    }
}

/// What a handler answers.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

struct Endpoint {
    route: &'static Route,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.route.path)
    }
}

#[async_trait::async_trait]
impl tide::Endpoint<State> for Endpoint {
    async fn call(&self, request: tide::Request<State>) -> tide::Result {
        let method = request.method();
        let route = self.route;
        if method == http_types::Method::Head && !route.takes_head() {
            return Ok(not_allowed(request.url().path()));
        }
        let answered = match Record::begin(&request, route) {
            Ok(mut record) => {
                let unattended = request.state().unattended().clone();
                let authorised = access::authorise(&request, route, &mut record).await;
                let admitted = authorised.and_then(|identity| {
                    let by = identity.as_ref().map(|identity| identity.actor.clone());
                    if route.acts() {
                        unattended.room(&by)?;
                    }
                    Ok((identity, by))
                });
                match admitted {
                    Ok((identity, by)) => {
                        let gone = CancellationToken::new();
                        let call = Call { request, route, identity, gone: gone.clone() };
                        let work = async move {
                            let answered = (route.handler)(call).await;
                            record.end(&answered).await;
                            answered
                        };
                        if route.acts() { unattended.carry_out(by, gone, work).await } else { work.await }
                    }
                    Err(problem) => {
                        let refused = Err(problem);
                        record.end(&refused).await;
                        refused
                    }
                }
            }
            Err(problem) => Err(problem),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(problem) => {
                // What we are to blame for is written down; a client's mistake is its own.
                if problem.code == Code::Internal {
                    tracing::error!(method = %method, route = route.path, "{problem}");
                }
                match route.lock {
                    Lock::Git => respond::plain_problem(&problem),
                    _ => respond::problem(&problem),
                }
            }
        };
        if response.header("x-request-id").is_none() {
            response.set_header("x-request-id", respond::request_id());
        }
        if route.lock != Lock::Open && response.header("cache-control").is_none() {
            response.set_header("cache-control", "no-store");
        }
        Ok(response)
    }
}

/// tide with all routes.
#[must_use]
pub fn app(state: State) -> tide::Server<State> {
    let mut app = tide::with_state(state);
    for route in table::ROUTES {
        app.at(route.path).method(route.method, Endpoint { route });
    }
    app.with(Headers);
    app.with(Unmatched);
    app
}

/// How many bytes a path's body may have.
#[must_use]
pub fn body_limit(state: &State, path: &str) -> usize {
    let config = state.config();
    let bytes = if path.starts_with("/git/") {
        // Git itself refuses a push that is too large, with words that the person who pushes reads.
        config.git.max_push_mib.saturating_add(PUSH_MARGIN_MIB).saturating_mul(1024 * 1024)
    } else if path.starts_with("/hooks/") {
        spool::LARGEST as u64
    } else if table::is_open(path) {
        OPEN_BODY
    } else {
        config.limits.body_kib.saturating_mul(1024)
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What an answer that is no page lets a browser do with it.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";
/// A year: a browser that came over TLS once never comes without.
const HSTS: &str = "max-age=31536000";

/// The headers that every answer has. No other site's page may read anything: there is no CORS.
#[derive(Debug)]
struct Headers;

#[async_trait::async_trait]
impl tide::Middleware<State> for Headers {
    async fn handle(&self, request: tide::Request<State>, next: tide::Next<'_, State>) -> tide::Result {
        let site = access::presented(&request).and_then(|presented| request.state().auth().site(presented));
        let secure = site.is_ok_and(|site| site.secure());
        let mut response = next.run(request).await;
        response.set_header("x-content-type-options", "nosniff");
        response.set_header("referrer-policy", "same-origin");
        response.set_header("cross-origin-opener-policy", "same-origin");
        response.set_header("cross-origin-resource-policy", "same-origin");
        if response.header("content-security-policy").is_none() {
            response.set_header("content-security-policy", NOTHING);
        }
        if secure {
            response.set_header("strict-transport-security", HSTS);
        }
        Ok(response)
    }
}

/// Says what tide leaves empty: 404, 405 with `Allow`, and OPTIONS.
#[derive(Debug)]
struct Unmatched;

#[async_trait::async_trait]
impl tide::Middleware<State> for Unmatched {
    async fn handle(&self, request: tide::Request<State>, next: tide::Next<'_, State>) -> tide::Result {
        let path = request.url().path().to_owned();
        let options = request.method() == http_types::Method::Options;
        let response = next.run(request).await;
        // Our own answers have a request id already.
        if response.header("x-request-id").is_some() {
            return Ok(response);
        }
        let allow = table::methods(&path).join(", ");
        if allow.is_empty() {
            return Ok(respond::problem(&Problem::new(Code::NotFound, "there is nothing here")));
        }
        if !options {
            return Ok(not_allowed(&path));
        }
        let mut response = Response::new(http_types::StatusCode::NoContent);
        response.set_header("x-request-id", respond::request_id());
        response.set_header("allow", allow);
        Ok(response)
    }
}

/// 405, with the methods that the path takes.
fn not_allowed(path: &str) -> Response {
    let allow = table::methods(path).join(", ");
    let mut response = respond::problem(&Problem::new(Code::MethodNotAllowed, format!("this path takes {allow}")));
    response.set_header("allow", allow);
    response
}
