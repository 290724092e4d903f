//! Where a browser sees the dashboard: what it typed decides which passkeys it can use and which cookie it gets.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};
use webauthn_rs::prelude::{Webauthn, WebauthnBuilder};

use super::{Auth, Presented};
use crate::config::Listen;
use crate::problem::{Code, Problem};

/// The cookie's name on plain loopback. Only over TLS can a browser promise the other one's properties.
pub(super) const PLAIN: &str = "podkeeper";
/// The cookie's name over TLS: no other host can set it, and it goes to no other.
pub(super) const SECURE: &str = "__Host-podkeeper";

/// The dashboard's address as a browser sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    origin: Url,
}

impl Site {
    /// The session's cookies: their names, and whether they go over TLS only.
    pub const COOKIES: [(&str, bool); 2] = [(PLAIN, false), (SECURE, true)];

    /// The address of a request's `Origin` and `Host`: a configured one, or plain http on this machine's loopback, with
    /// any port, since a tunnel's other end has one of its own.
    fn find(listen: &Listen, origin: Option<&str>, host: Option<&str>) -> Option<Self> {
        let configured =
            || std::iter::once(&listen.public_url).chain(&listen.origins).filter_map(|url| url.parse().ok());
        let by_origin = |origin: &str| {
            let origin: Url = origin.parse().ok()?;
            configured().find(|own: &Url| own.origin() == origin.origin())
        };
        let by_host = |host: &str| {
            let fits = |own: &Url| {
                let asked = format!("{}://{host}", own.scheme()).parse::<Url>();
                asked.is_ok_and(|asked| asked.origin() == own.origin())
            };
            configured().find(fits)
        };
        let loopback = |host: &str| {
            let url: Url = format!("http://{host}").parse().ok()?;
            let own = match url.host()? {
                Host::Domain(name) => name == "localhost",
                Host::Ipv4(ip) => ip == Ipv4Addr::LOCALHOST,
                Host::Ipv6(ip) => ip == Ipv6Addr::LOCALHOST,
            };
            own.then_some(url)
        };
        let origin =
            origin.and_then(by_origin).or_else(|| host.and_then(by_host)).or_else(|| host.and_then(loopback))?;
        Some(Self { origin })
    }

    /// The configured public address.
    fn public(listen: &Listen) -> Option<Self> {
        Some(Self { origin: listen.public_url.parse().ok()? })
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.origin.scheme() == "https"
    }

    /// The name of the session's cookie.
    #[must_use]
    pub fn cookie(&self) -> &'static str {
        if self.secure() { SECURE } else { PLAIN }
    }

    /// Whether a browser can keep a session here that no other site sets. Over TLS the cookie's name says so; without it,
    /// any page of the same domain, a service's too, could set one. An IP address has no such domain, and neither has
    /// `localhost` (RFC 6265, section 5.3, steps 5 and 6).
    pub(super) fn keeps_sessions(&self) -> Result<(), Problem> {
        if self.secure() || self.origin.domain().is_none_or(|name| name == "localhost") {
            return Ok(());
        }
        let detail =
            format!("nobody can be signed in at {}: another page of its domain could set the cookie", self.origin());
        Err(Problem::new(Code::UnfitAddress, detail).with_hint(
            "open the dashboard over https and set that as `listen.public_url`, or through a tunnel: \
             ssh -L 7070:localhost:7070 HOST, then http://localhost:7070",
        ))
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        self.origin.origin().ascii_serialization()
    }

    /// Whether a page of this origin is at this address.
    pub(super) fn is(&self, origin: &str) -> bool {
        origin.parse().is_ok_and(|origin: Url| origin.origin() == self.origin.origin())
    }

    /// The exact host, never a parent domain: else a service beside the dashboard could ask for its passkeys.
    pub(super) fn rp_id(&self) -> &str {
        self.origin.host_str().unwrap_or_default()
    }

    /// The verifier of this address, where browsers have passkeys at all: at a name over TLS, and at localhost.
    pub(super) fn webauthn(&self) -> Result<Webauthn, Problem> {
        let name = self.origin.domain();
        let unfit = |why: &str| {
            Problem::new(Code::UnfitAddress, format!("browsers have no passkeys at {}: {why}", self.origin())).with_hint(
                "open the dashboard by a domain over https and set that as `listen.public_url`, or through a tunnel: \
                 ssh -L 7070:localhost:7070 HOST, then http://localhost:7070",
            )
        };
        match name {
            None => return Err(unfit("it is an IP address, and they belong to a name")),
            Some(name) if !self.secure() && name != "localhost" => return Err(unfit("it is not https")),
            Some(_) => {}
        }
        WebauthnBuilder::new(self.rp_id(), &self.origin)
            .and_then(|builder| builder.rp_name("Podkeeper").build())
            .map_err(|error| unfit(&error.to_string()))
    }
}

impl Auth {
    /// Where the browser sees us that sent this request.
    pub fn site(&self, presented: &Presented) -> Result<Site, Problem> {
        let config = self.config.get();
        Site::find(&config.listen, presented.origin.as_deref(), presented.host.as_deref()).ok_or_else(|| {
            Problem::new(Code::UnfitAddress, "this is not an address of the dashboard that the configuration names")
                .with_hint("set it as `listen.public_url` or add it to `listen.origins`")
        })
    }

    /// The address that enrolment links have.
    pub(super) fn public_site(&self) -> Result<Site, Problem> {
        Site::public(&self.config.get().listen)
            .ok_or_else(|| Problem::new(Code::UnfitAddress, "`listen.public_url` is not an address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(public_url: &str, origin: Option<&str>, host: &str) -> Option<(String, String, &'static str)> {
        let listen = Listen {
            public_url: public_url.parse().unwrap(),
            origins: vec!["https://other.example:8443".parse().unwrap()],
            ..Listen::default()
        };
        let site = Site::find(&listen, origin, Some(host))?;
        Some((site.origin(), site.rp_id().to_owned(), site.cookie()))
    }

    #[test]
    fn an_address_is_a_configured_one_or_on_loopback() {
        let own = "https://pods.example.com";
        let found = |origin: &str, rp_id: &str, cookie| Some((origin.to_owned(), rp_id.to_owned(), cookie));
        for (origin, host, wanted) in [
            (None, "pods.example.com", found(own, "pods.example.com", SECURE)),
            (None, "PODS.example.com:443", found(own, "pods.example.com", SECURE)),
            (Some(own), "127.0.0.1:7070", found(own, "pods.example.com", SECURE)),
            (None, "other.example:8443", found("https://other.example:8443", "other.example", SECURE)),
            (None, "localhost:4711", found("http://localhost:4711", "localhost", PLAIN)),
            (Some("http://localhost:9"), "localhost:4711", found("http://localhost:4711", "localhost", PLAIN)),
            (None, "127.0.0.1:7070", found("http://127.0.0.1:7070", "127.0.0.1", PLAIN)),
            (None, "[::1]:7070", found("http://[::1]:7070", "[::1]", PLAIN)),
            (None, "pods.example.com:8443", None),
            (None, "example.com", None),
            (None, "x.pods.example.com", None),
            (None, "blog.localhost:7070", None),
            (None, "127.0.0.2:7070", None),
            (None, "192.0.2.1", None),
            (None, "localhost@evil.example", None),
            (None, "", None),
        ] {
            assert_eq!(find(own, origin, host), wanted, "{origin:?} {host}");
        }
    }

    #[test]
    fn sessions_are_kept_where_no_other_site_sets_their_cookie() {
        for (public_url, good) in [
            ("https://pods.example.com", true),
            ("https://192.0.2.1", true),
            ("http://localhost:7070", true),
            ("http://192.0.2.1:7070", true),
            ("http://[2001:db8::1]:7070", true),
            ("http://pods.example.com", false),
            ("http://pods", false),
            ("http://pods.localhost", false),
        ] {
            let listen = Listen { public_url: public_url.parse().unwrap(), ..Listen::default() };
            assert_eq!(Site::public(&listen).unwrap().keeps_sessions().is_ok(), good, "{public_url}");
        }
    }

    #[test]
    fn passkeys_are_for_names_over_tls_and_for_localhost() {
        for (public_url, good) in [
            ("https://pods.example.com", true),
            ("http://localhost:7070", true),
            ("http://pods.example.com", false),
            ("https://192.0.2.1", false),
            ("http://127.0.0.1:7070", false),
            ("https://[2001:db8::1]", false),
        ] {
            let listen = Listen { public_url: public_url.parse().unwrap(), ..Listen::default() };
            let made = Site::public(&listen).unwrap().webauthn();
            assert_eq!(made.is_ok(), good, "{public_url}");
            if let Err(problem) = made {
                assert!(problem.code == Code::UnfitAddress && problem.hint.is_some());
            }
        }
    }
}
