//! The addresses of the agent and of its services, as browsers write them.

use std::str::FromStr;

use url::{Host, Url};

use super::settings::{SettingError, setting};
use super::text::shown;
use super::{HostName, ServiceName};

/// What stands for a service's name.
const NAME: &str = "{name}";
/// How long a service's name may be.
const LONGEST: usize = 40;

/// The host of an address that has nothing behind its port.
fn host_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    match authority.rsplit_once(':') {
        // What stands between the colons of an IPv6 address is no port.
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    }
}

setting! {
    /// An address of the agent: `http` or `https`, a host name or an IP address, and a port where it isn't the usual
    /// one. It is kept as a browser writes an origin (<https://url.spec.whatwg.org/#origin>).
    BaseUrl as str
}

impl BaseUrl {
    /// Its host, an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        host_of(&self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let parsed = || {
            let authority = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
            // The parser would find another part of an address behind these, or pass them over.
            if authority.contains(|c: char| "/\\?#@%".contains(c) || c.is_whitespace() || c.is_control()) {
                return None;
            }
            let url: Url = text.parse().ok()?;
            let named = match url.host()? {
                Host::Domain(name) => name.parse::<HostName>().is_ok(),
                Host::Ipv4(_) | Host::Ipv6(_) => true,
            };
            (named && url.port() != Some(0)).then(|| Self(url.origin().ascii_serialization()))
        };
        parsed().ok_or_else(|| SettingError::BaseUrl(shown(text)))
    }
}

setting! {
    /// The address of every service: like the agent's, with `{name}` in its host where a service's name belongs. Each
    /// name makes a host name of it.
    ServiceUrl as str
}

impl ServiceUrl {
    /// The address of the service `name`.
    #[must_use]
    pub fn of(&self, name: &ServiceName) -> String {
        self.0.replace(NAME, name.as_str())
    }

    /// The host name of the service `name`.
    #[must_use]
    pub fn host(&self, name: &ServiceName) -> HostName {
        HostName::known(host_of(&self.of(name)))
    }

    /// Whether `host` is that of a name, be it a reserved one.
    #[must_use]
    pub fn gives(&self, host: &HostName) -> bool {
        let name = host_of(&self.0)
            .split_once(NAME)
            .and_then(|(before, after)| host.as_str().strip_prefix(before)?.strip_suffix(after));
        name.is_some_and(|name| !name.is_empty() && !name.contains('.'))
    }
}

impl FromStr for ServiceUrl {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (before, after) = text.split_once(NAME).ok_or_else(|| SettingError::NoName(shown(text)))?;
        let parsed = || {
            // The longest name, of letters that a browser could take for a number's
            // (https://url.spec.whatwg.org/#ends-in-a-number-checker).
            let (before, name) = (before.to_ascii_lowercase(), "a".repeat(LONGEST));
            let sample: BaseUrl = format!("{before}{name}{after}").parse().ok()?;
            let after = sample.as_str().strip_prefix(&before)?.strip_prefix(&name)?;
            Some(Self(format!("{before}{NAME}{after}")))
        };
        parsed().ok_or_else(|| SettingError::ServiceUrl(shown(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_agent() {
        for (text, is, host) in [
            ("http://localhost:7070", "http://localhost:7070", "localhost"),
            ("https://pods.example.com", "https://pods.example.com", "pods.example.com"),
            ("https://PODS.example.com:443", "https://pods.example.com", "pods.example.com"),
            ("https://other.example:8443", "https://other.example:8443", "other.example"),
            ("http://a", "http://a", "a"),
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070", "127.0.0.1"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]", "[2001:db8::1]"),
            ("http://[::1]:7070", "http://[::1]:7070", "[::1]"),
            ("https://bücher.example", "https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!((url.as_str(), url.host()), (is, host));
        }
        for text in [
            "",
            "localhost",
            "pods.example.com",
            "ftp://a",
            "http:a",
            "http:/a",
            "http://",
            "http:///a",
            "http://:80",
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://u@a",
            "http://u:p@a",
            "http://a\\b",
            "http://a b",
            " http://a",
            "http://a ",
            "http://a\n",
            "http://a\tb",
            "http://a\u{85}",
            "http://a:0",
            "http://a:65536",
            "http://a:b",
            "http://a:80:80",
            "http://a_b",
            "http://a..b",
            "http://*.b",
            "http://-a",
            "http://a%62",
            "http://1.2.3.4.5",
            "http://{name}",
            "http://a$b",
            "http://a\"b",
            "http://[::1",
            "http://::1",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_of_services() {
        let (short, long): (ServiceName, ServiceName) = ("b".parse().unwrap(), "b".repeat(40).parse().unwrap());
        for (text, is, host) in [
            ("http://{name}.localhost:8080", "http://b.localhost:8080", "b.localhost"),
            ("https://{name}.example.org", "https://b.example.org", "b.example.org"),
            ("https://pre-{name}-x.Example.org:443", "https://pre-b-x.example.org", "pre-b-x.example.org"),
            ("http://A.{name}.b", "http://a.b.b", "a.b.b"),
            ("http://{name}", "http://b", "b"),
        ] {
            let url: ServiceUrl = text.parse().unwrap();
            assert_eq!((url.of(&short).as_str(), url.host(&short).as_str()), (is, host));
            for name in [&short, &long] {
                let host = url.host(name);
                assert_eq!(host.as_str().parse(), Ok(host.clone()));
                assert!(url.gives(&host));
                assert_eq!(url.of(name).parse::<BaseUrl>().unwrap().host(), host.as_str());
            }
        }
        let local: ServiceUrl = "http://{name}.localhost:8080".parse().unwrap();
        for other in ["localhost", "a.blog.localhost", "blog.example.org"] {
            assert!(!local.gives(&other.parse().unwrap()), "{other}");
        }
        assert_eq!("http://x".parse::<ServiceUrl>(), Err(SettingError::NoName("http://x".into())));
        for text in [
            "{name}",
            "{name}.org",
            "http://{name}_x.org",
            "http://{name}-.org",
            "http://-{name}.org",
            "http://{name}..org",
            "http://{name}.{name}.org",
            "http://x.org/{name}",
            "http://x.org:{name}",
            "http://x.org?{name}",
            "http://x.org#{name}",
            "http://{name}@x.org",
            "http://{name}.org/",
            "http://{name}.org/app",
            "http://{name}.org:0",
            "http://{name} .org",
            "http://{name}\n.org",
            "ftp://{name}.org",
            "http://{name}.1",
            "http://127.0.0.1/{name}",
            "http://127.0.0.1:80{name}",
            "http://[::{name}]",
            "http://0x{name}",
            "http://{name}.{x}",
            &format!("http://{}{{name}}.org", "p".repeat(24)),
            &format!("http://{{name}}{}", ".abcdefg".repeat(27)),
        ] {
            assert!(matches!(text.parse::<ServiceUrl>(), Err(SettingError::ServiceUrl(_))), "{text:?}");
        }
    }
}
