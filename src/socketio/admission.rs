//! What a client of the protocol may take before anybody knows whose it is: a bounded number of sessions, all together
//! and from its address, a moment each, and a few bytes. Of its handshake only what is needed is kept as long as it.

use std::future::{Ready, ready};

use futures_util::TryFutureExt;
use futures_util::future::{Either, MapErr};
use http::header::{CONTENT_TYPE, HeaderName, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Limited;
use hyper::service::Service;

use super::lines::{Lines, WEBSOCKET};
use super::protocol::PAYLOAD;
use crate::auth::{Auth, Presented};
use crate::connection::Connection;
use crate::permits::{LimitReached, Permits, SharedPermit};
use crate::problem::{Code, Problem};

/// How many sessions at once that have joined no namespace.
const SESSIONS: usize = 128;
/// How many of them from one address.
const EACH: usize = 32;
/// How many bytes such a session may send: joining takes a token and some braces.
const JOINING: usize = 16 * 1024;
/// The longest address of a request. A session's number and a cache breaker are all that it holds.
const ADDRESS: usize = 512;
/// The headers that the protocol's own code reads.
const READ: [HeaderName; 2] = [SEC_WEBSOCKET_KEY, CONTENT_TYPE];

/// Before the sessions.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    auth: Auth,
    lines: Lines,
    permits: Permits,
}

impl Admission {
    pub(super) fn new(auth: Auth, lines: Lines) -> Self {
        Self { auth, lines, permits: Permits::new(SESSIONS, EACH) }
    }

    /// A request as the protocol's code gets it; everything else is let through as it is.
    fn admit<B>(&self, request: Request<B>) -> Result<Request<Limited<B>>, Problem> {
        if !is_ours(request.uri().path()) {
            return Ok(request.map(|body| Limited::new(body, usize::MAX)));
        }
        let unknown = || Problem::new(Code::Internal, "the request came by an unknown way");
        let (mut parts, body) = request.into_parts();
        let (Some(presented), Some(connection)) =
            (parts.extensions.get::<Presented>().cloned(), parts.extensions.get::<Connection>().cloned())
        else {
            return Err(unknown());
        };
        let address = parts.uri.path_and_query().map(|address| address.as_str()).unwrap_or_default();
        if address.len() > ADDRESS {
            return Err(Problem::new(Code::BadRequest, "the address is longer than any of this protocol's"));
        }
        let query = parts.uri.query().unwrap_or_default();
        let sid = query.split('&').find_map(|pair| pair.strip_prefix("sid="));
        let joined = sid.is_some_and(|sid| self.lines.has_joined(sid));
        if sid.is_none() {
            self.auth.handshake(&presented)?;
            let place = self.permits.take(self.auth.address(&presented)).map_err(full)?;
            parts.extensions.insert(SharedPermit::new(Some(place)));
        }
        if joined {
            self.auth.know(&presented, &connection);
        } else if query.contains(WEBSOCKET) {
            connection.bound(JOINING);
        }
        // Copies: what came is a part of the whole head, which would be kept with it.
        parts.uri = Uri::try_from(address.to_owned()).map_err(|_| unknown())?;
        parts.headers = READ.into_iter().filter_map(|name| copied(&parts.headers, name)).collect();
        let most = if joined { PAYLOAD } else { JOINING };
        Ok(Request::from_parts(parts, Limited::new(body, most)))
    }
}

/// What the protocol's code answers: the path and what lies below it.
fn is_ours(path: &str) -> bool {
    path.strip_prefix(super::PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn copied(headers: &HeaderMap, name: HeaderName) -> Option<(HeaderName, HeaderValue)> {
    let value = headers.get(&name).filter(|value| value.len() <= 256)?;
    Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
}

fn full(full: LimitReached) -> Problem {
    match full {
        LimitReached::Address => Problem::new(Code::RateLimited, "too many clients of this address connect at once"),
        LimitReached::All => Problem::new(Code::Busy, "too many clients connect at once"),
    }
}

/// A service that admits before it serves.
#[derive(Clone)]
pub struct AdmissionService<S> {
    pub(super) service: S,
    pub(super) admission: Admission,
}

impl<S, B, A> Service<Request<B>> for AdmissionService<S>
where
    S: Service<Request<Limited<B>>, Response = Response<A>, Error: Into<Problem>>,
{
    type Response = S::Response;
    type Error = Problem;
    type Future = Either<MapErr<S::Future, fn(S::Error) -> Problem>, Ready<Result<S::Response, Problem>>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        match self.admission.admit(request) {
            Ok(request) => Either::Left(self.service.call(request).map_err(Into::into)),
            Err(problem) => Either::Right(ready(Err(problem))),
        }
    }
}

#[cfg(test)]
mod tests {
    use socketioxide::SocketIo;

    use super::*;
    use crate::auth::Peer;
    use crate::config::{Config, LiveConfig};
    use crate::events::Events;
    use crate::store::Store;

    #[test]
    fn of_a_handshake_only_what_is_needed_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        let auth = Auth::new(store, Events::new(), LiveConfig::new(Config::default()));
        let admission = Admission::new(auth, Lines::new(SocketIo::new_svc().1, []));
        let request = |address: &str| {
            let request = Request::builder().uri(address).header("sec-websocket-key", "key");
            let mut request = request.header("cookie", "x".repeat(30_000)).body(String::new()).unwrap();
            let presented = Presented::read(&request, Peer::Network([192, 0, 2, 1].into()));
            request.extensions_mut().insert(presented);
            request.extensions_mut().insert(Connection::default());
            request
        };
        let address = "/socket.io/?EIO=4&transport=websocket";
        let kept = admission.admit(request(address)).unwrap();
        assert_eq!((kept.headers().len(), &kept.headers()[SEC_WEBSOCKET_KEY]), (1, &HeaderValue::from_static("key")));
        assert_eq!(kept.uri(), address);
        // It has its place for as long as it is there.
        let more: Vec<_> = (1..EACH).map(|_| admission.admit(request(address)).unwrap()).collect();
        assert_eq!(admission.admit(request(address)).unwrap_err().code, Code::RateLimited);
        kept.extensions().get::<SharedPermit>().unwrap().leave();
        let last = admission.admit(request(address)).unwrap();
        drop((more, last));
        admission.admit(request(address)).unwrap();
        let long = format!("{address}&t={}", "x".repeat(ADDRESS));
        assert_eq!(admission.admit(request(&long)).unwrap_err().code, Code::BadRequest);
        // What is another's comes through whole.
        assert_eq!(admission.admit(request("/")).unwrap().headers().len(), 2);
    }

    #[test]
    fn the_protocol_has_its_path_and_what_lies_below() {
        assert!(is_ours("/socket.io") && is_ours("/socket.io/") && is_ours("/socket.io/x"));
        assert!(!is_ours("/socket.iox") && !is_ours("/") && !is_ours("/x/socket.io"));
    }
}
