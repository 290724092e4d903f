//! What a request presents of who sends it, read from its head once, before anything else sees the request.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN};
use http::{Method, Request};

use super::site::{PLAIN, SECURE};
use crate::problem::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// TCP, with the other end's address.
    Network(IpAddr),
    /// The unix socket, with what the kernel says of the other end.
    Local {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// What a request presents. It is among the request's extensions, for REST and for a Socket.IO handshake alike.
#[derive(Clone)]
pub struct Presented {
    /// Where the connection comes from.
    pub peer: Peer,
    /// Whether the method changes nothing. A Socket.IO handshake is a GET that opens everything, so it is never safe.
    pub safe: bool,
    /// `Authorization`. One that can't be read is an empty text: present, and good for nothing.
    pub authorization: Option<String>,
    /// The value of the session cookie of pages without TLS.
    pub cookie: Option<String>,
    /// The value of the session cookie of pages with TLS, which only such a page can set.
    pub secure_cookie: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<String>,
    /// `Sec-Fetch-Mode`.
    pub fetch_mode: Option<String>,
    /// `Host`, or the authority of HTTP/2.
    pub host: Option<String>,
    /// Every `X-Forwarded-For`, in order: what proxies say of where the request comes from.
    pub forwarded: Vec<String>,
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presented").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The longest text that is kept of a head: a session's handshake stays as long as the session.
const LONGEST: usize = 2048;

/// A header that may be there once. Twice, too long, or with bytes that are no text, is present and empty.
fn single(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    let text = if all.next().is_some() { "" } else { first.to_str().unwrap_or_default() };
    Some(short(text).to_owned())
}

fn short(text: &str) -> &str {
    if text.len() <= LONGEST { text } else { "" }
}

/// The end of every `X-Forwarded-For`: a proxy appends to what the client wrote, whatever bytes that is.
fn forwarded(headers: &HeaderMap) -> Vec<String> {
    let mut room = LONGEST;
    let mut all: Vec<String> = Vec::new();
    // From the right, as they are read.
    for value in headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>().into_iter().rev() {
        let bytes = value.as_bytes();
        let kept = bytes.len().min(room);
        room -= kept;
        all.push(String::from_utf8_lossy(&bytes[bytes.len() - kept..]).into_owned());
        if kept < bytes.len() || room == 0 {
            break;
        }
    }
    all.reverse();
    all
}

impl Presented {
    /// What whoever presents this is told where it identifies nobody. A program whose token has ended learns it.
    #[must_use]
    pub fn nobody(&self) -> Problem {
        let detail = match self.authorization {
            Some(_) => "you are not signed in: this host knows no such token, or it has ended",
            None => "you are not signed in",
        };
        Problem::new(Code::NotSignedIn, detail)
    }

    /// Reads the head of a request that came from `peer`.
    #[must_use]
    pub fn read<B>(request: &Request<B>, peer: Peer) -> Self {
        let headers = request.headers();
        let authority = request.uri().authority().map(|authority| short(authority.as_str()).to_owned());
        Self {
            peer,
            safe: [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()),
            authorization: single(headers, &AUTHORIZATION),
            cookie: cookie(headers, PLAIN),
            secure_cookie: cookie(headers, SECURE),
            origin: single(headers, &ORIGIN),
            fetch_site: single(headers, &SEC_FETCH_SITE),
            fetch_mode: single(headers, &SEC_FETCH_MODE),
            host: authority.or_else(|| single(headers, &HOST)),
            forwarded: forwarded(headers),
        }
    }

    /// The same for a request that opens more than its method says, such as a handshake.
    #[must_use]
    pub fn unsafely(mut self) -> Self {
        self.safe = false;
        self
    }
}

/// A cookie's value (RFC 6265, section 5.4). Of two, one was set by somebody else, and neither counts.
fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = all.flat_map(|header| header.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then(|| short(value).to_owned())
    });
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let headers = |text: &'static str| HeaderMap::from_iter([(COOKIE, text.parse().unwrap())]);
        assert_eq!(cookie(&headers("a=b; podkeeper=x=y; c"), PLAIN).as_deref(), Some("x=y"));
        assert_eq!(cookie(&headers("podkeeper=a;__Host-podkeeper=z"), SECURE).as_deref(), Some("z"));
        let shadowed = "podkeeper=a; podkeeper=b";
        for other in ["", "podkeeper", "xpodkeeper=a", "a=podkeeper=b", "Podkeeper=a", "__Host-podkeeper=a", shadowed] {
            assert_eq!(cookie(&headers(other), PLAIN), None, "{other}");
        }
    }

    #[test]
    fn what_is_kept_of_a_head_is_bounded() {
        let long = "x".repeat(LONGEST + 1);
        let request = Request::builder().header("authorization", &long).header("cookie", format!("podkeeper={long}"));
        let request = request.header("x-forwarded-for", &long).header("x-forwarded-for", format!("{long}, 192.0.2.1"));
        let presented = Presented::read(&request.body(()).unwrap(), Peer::Local { uid: 0, gid: 0 });
        assert_eq!((presented.authorization.as_deref(), presented.cookie.as_deref()), (Some(""), Some("")));
        let [kept] = &presented.forwarded[..] else { panic!("{} are kept", presented.forwarded.len()) };
        assert!(kept.len() == LONGEST && kept.ends_with("x, 192.0.2.1"));
    }

    #[test]
    fn what_is_there_twice_is_good_for_nothing() {
        let peer = Peer::Network(IpAddr::from([127, 0, 0, 1]));
        let request = Request::builder().method("POST").header("authorization", "Bearer a").header("host", "h");
        let presented = Presented::read(&request.header("authorization", "Bearer b").body(()).unwrap(), peer);
        assert_eq!((presented.authorization.as_deref(), presented.host.as_deref()), (Some(""), Some("h")));
        assert!(!presented.safe);
        assert!(!format!("{presented:?}").contains("Bearer"));
    }
}
