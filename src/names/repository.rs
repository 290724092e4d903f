//! The address of an external repository, parsed once. Nothing else is ever given to git as one, or shown as one: what
//! of it is a secret lies apart.

mod beside;
mod reader;

use std::fmt;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use url::{Host, Url};

use crate::problem::{Code, Problem};

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UriError {
    /// Not a scheme that is allowed.
    #[error("a repository's address begins with https://, http://, ssh:// or git://, or reads user@host:path")]
    Scheme,
    /// Not an address.
    #[error("that is no repository's address: {0}")]
    Form(&'static str),
}

impl UriError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem::new(Code::InvalidUri, self.to_string())
    }
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// https or http.
    Http,
    /// ssh.
    Ssh,
    /// git's own, without any proof of who answers.
    Git,
}

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Who reads a repository over http. The others' users are no secrets, and a part of their addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum User {
    /// Nobody is named. Beside a password any name will do.
    Nobody,
    /// Somebody with a password.
    Named(String),
    /// A name without a password: it is a token.
    Secret,
}

/// An external repository's address, without what is secret of it. As text it is what the store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUri {
    /// What git is given; over http without a user.
    url: Url,
    transport: Transport,
    user: User,
}

/// A part of an address as it is meant. What ends a line would end one in what git and a program are told.
fn decoded(part: &str, form: &'static str) -> Result<String, UriError> {
    let text = percent_decode_str(part).decode_utf8().map_err(|_| UriError::Form(form))?;
    if text.contains(char::is_control) { Err(UriError::Form(form)) } else { Ok(text.into_owned()) }
}

/// Reads `text` with all that is in it.
fn read(text: &str) -> Result<(Url, Transport), UriError> {
    if text.len() > 2000 || text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(UriError::Form("it holds characters that no address does, or is too long"));
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let transport = match scheme.as_deref() {
        Some("https" | "http") => Transport::Http,
        Some("ssh") => Transport::Ssh,
        Some("git") => Transport::Git,
        Some(_) => return Err(UriError::Scheme),
        None => return read(&long(text)?),
    };
    let url = Url::parse(text).map_err(|_| UriError::Form("it can't be read"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match url.host() {
        None => return Err(UriError::Form("it names no host")),
        Some(Host::Domain(host)) if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) => {
            return Err(UriError::Form("its host is no host name"));
        }
        Some(_) => {}
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(UriError::Form("it has a query or a fragment"));
    }
    let path = decoded(url.path(), "its path holds what no path does")?;
    if path.trim_matches('/').is_empty() || path.trim_start_matches('/').starts_with('-') {
        return Err(UriError::Form("it names no repository"));
    }
    let user = decoded(url.username(), "its user name holds what no name does")?;
    if user.starts_with('-') {
        return Err(UriError::Form("its user name begins with a -"));
    }
    // Behind the first : of both lies the password (RFC 7617); ssh is given the name as an argument.
    let whole = match transport {
        Transport::Http => !user.contains(':'),
        Transport::Ssh => user.chars().all(|c| plain(c) || "+~@".contains(c)),
        Transport::Git => user.is_empty() && url.password().is_none(),
    };
    if !whole {
        let form = if transport == Transport::Git { "git:// knows no users" } else { "its user name is none" };
        return Err(UriError::Form(form));
    }
    Ok((url, transport))
}

/// `user@host:path`, as ssh users write it, as an address.
fn long(text: &str) -> Result<String, UriError> {
    let (user, rest) = text.split_once('@').ok_or(UriError::Scheme)?;
    let (host, path) = rest.split_once(':').ok_or(UriError::Scheme)?;
    let plain = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if !plain(user) || !plain(host) || path.starts_with(':') {
        return Err(UriError::Scheme);
    }
    Ok(format!("ssh://{user}@{host}/{}", path.trim_start_matches('/')))
}

impl RepoUri {
    /// Reads `text`; what is a secret in it is split off: a password, or over http a user name without one.
    pub fn parse(text: &str) -> Result<(Self, Option<SecretString>), UriError> {
        let (mut url, transport) = read(text)?;
        let no_password = UriError::Form("it can't have a password");
        let password = match url.password() {
            Some(password) => Some(decoded(password, "its password holds what no password does")?),
            None => None,
        };
        url.set_password(None).map_err(|()| no_password.clone())?;
        let mut name = String::new();
        if transport == Transport::Http {
            name = decoded(url.username(), "its user name holds what no name does")?;
            url.set_username("").map_err(|()| no_password)?;
        }
        let (user, secret) = match (name.is_empty(), password) {
            (true, password) => (User::Nobody, password),
            (false, Some(password)) => (User::Named(name), Some(password)),
            (false, None) => (User::Secret, Some(name)),
        };
        Ok((Self { url, transport, user }, secret.map(SecretString::from)))
    }

    /// Reads what [`fmt::Display`] wrote. An older row's user name, which had no password, was of no use and is left out.
    pub fn stored(text: &str, has_secret: bool) -> Result<Self, UriError> {
        let (mut uri, name) = Self::parse(text)?;
        uri.user = match name {
            Some(name) if has_secret && uri.user == User::Secret && name.expose_secret() != HIDDEN => {
                User::Named(name.expose_secret().to_owned())
            }
            Some(_) if !has_secret => User::Nobody,
            _ => uri.user,
        };
        Ok(uri)
    }

    /// Whether what is secret is a user name without a password.
    #[must_use]
    pub fn is_token(&self) -> bool {
        self.user == User::Secret
    }

    /// As it is shown to people, where the secret in it reads `***`.
    #[must_use]
    pub fn shown(&self, has_secret: bool) -> String {
        match (self.transport, &self.user) {
            _ if !has_secret => self.to_string(),
            (Transport::Http, User::Named(name)) => self.of(name, Some(HIDDEN)),
            (Transport::Http, _) => self.of(HIDDEN, None),
            (_, _) if self.url.username().is_empty() => self.of(HIDDEN, None),
            (_, _) => self.of(self.url.username(), Some(HIDDEN)),
        }
    }

    /// The address with somebody's name in it.
    fn of(&self, name: &str, password: Option<&str>) -> String {
        let mut url = self.url.clone();
        // `***` stays as it is: no * has another meaning in an address.
        let _ = url.set_username(name);
        let _ = url.set_password(password);
        url.into()
    }

    /// What git is given. It holds no secret.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.as_str()
    }

    /// How it is reached.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Its host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> String {
        match self.url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = match self.transport {
            Transport::Http => 443,
            Transport::Ssh => 22,
            Transport::Git => 9418,
        };
        self.url.port_or_known_default().unwrap_or(default)
    }

    /// The same address with another host, for a transport that can't be told separately where to connect.
    #[must_use]
    pub fn at(&self, address: std::net::IpAddr) -> Option<String> {
        let mut url = self.url.clone();
        url.set_ip_host(address).ok()?;
        Some(url.into())
    }
}

impl fmt::Display for RepoUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            User::Nobody => f.write_str(self.url.as_str()),
            User::Named(name) => f.write_str(&self.of(name, None)),
            User::Secret => f.write_str(&self.of(HIDDEN, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_of_an_address_is_split_off() {
        for (text, stored, shown, secret) in [
            ("https://example.org/a/b.git", "https://example.org/a/b.git", "https://example.org/a/b.git", None),
            (
                "https://joe:s%40cret@example.org/b",
                "https://joe@example.org/b",
                "https://joe:***@example.org/b",
                Some("s@cret"),
            ),
            ("https://:s%2Fcret@example.org/b", "https://example.org/b", "https://***@example.org/b", Some("s/cret")),
            (
                "https://ghp_s%2Bcret@example.org/b",
                "https://***@example.org/b",
                "https://***@example.org/b",
                Some("ghp_s+cret"),
            ),
            (
                "https://j%40e@corp:pw@example.org/b",
                "https://j%40e%40corp@example.org/b",
                "https://j%40e%40corp:***@example.org/b",
                Some("pw"),
            ),
            (
                "ssh://git@example.org:2222/b.git",
                "ssh://git@example.org:2222/b.git",
                "ssh://git@example.org:2222/b.git",
                None,
            ),
            ("ssh://joe:pw@example.org/b", "ssh://joe@example.org/b", "ssh://joe:***@example.org/b", Some("pw")),
            ("git@example.org:a/b.git", "ssh://git@example.org/a/b.git", "ssh://git@example.org/a/b.git", None),
            ("git://example.org/b", "git://example.org/b", "git://example.org/b", None),
            ("http://[::1]:8000/b", "http://[::1]:8000/b", "http://[::1]:8000/b", None),
        ] {
            let (uri, found) = RepoUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((uri.to_string(), uri.shown(found.is_some())), (stored.to_owned(), shown.to_owned()));
            assert_eq!(found.as_ref().map(|secret| secret.expose_secret()), secret);
            assert_eq!(RepoUri::stored(stored, found.is_some()).unwrap(), uri);
            for text in [format!("{uri:?} {uri} {}", uri.address()), uri.shown(true)] {
                assert!(!secret.is_some_and(|secret| text.contains(secret)), "{text}");
            }
            assert!(uri.transport() != Transport::Http || uri.url.username().is_empty());
        }
        // A row of before.
        let old = RepoUri::stored("https://ghp_secret@example.org/b", false).unwrap();
        assert_eq!([old.shown(false), old.to_string()], ["https://example.org/b"; 2]);
    }

    #[test]
    fn bad_addresses() {
        for text in [
            "",
            "file:///etc",
            "ext::sh -c x",
            "ext::sh",
            "/etc/passwd",
            "./x",
            "-uhttps://x/y",
            "--upload-pack=x",
            "https://",
            "https://example.org",
            "https://example.org/",
            "ssh://-oProxyCommand=x/y",
            "ssh://-x@example.org/y",
            "-x@example.org:y",
            "git@-x:y",
            "https://example.org/a\nb",
            "https://example.org/a b",
            "https://example.org/a?x=y",
            "ssh://example.org/-x",
            "ftp://example.org/x",
            "git@example.org::x",
            "https://a%0ahost=elsewhere@example.org/x",
            "https://a:b%0Ahost=elsewhere@example.org/x",
            "https://a:b%00@example.org/x",
            "https://a:b%ff@example.org/x",
            "https://a%0d:b@example.org/x",
            "https://a%c2%85@example.org/x",
            "https://a%3ab:c@example.org/x",
            "https://%2dx:b@example.org/x",
            "https://-x@example.org/x",
            "https://example.org/a%0ahost=elsewhere",
            "https://example.org/%2dx",
            "https://exam%0aple.org/x",
            "https://exam%25ple.org/x",
            "ssh://%2doProxyCommand=x@example.org/x",
            "ssh://a%20b@example.org/x",
            "ssh://a;b@example.org/x",
            "ssh://a@exam`ple/x",
            "ssh://a@exam$ple/x",
            "ssh://a:b%0a@example.org/x",
            "git://a@example.org/x",
        ] {
            assert!(RepoUri::parse(text).is_err(), "`{text}` should be refused");
        }
    }
}
