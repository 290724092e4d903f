//! The address of an external repository, parsed once. Nothing else is ever given to git as one.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
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

/// An external repository's address, without a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUri {
    url: Url,
    transport: Transport,
}

impl RepoUri {
    /// Reads `text`; a password in it is split off.
    pub fn parse(text: &str) -> Result<(Self, Option<SecretString>), UriError> {
        if text.len() > 2000 || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(UriError::Form("it holds characters that no address does, or is too long"));
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let transport = match scheme.as_deref() {
            Some("https" | "http") => Transport::Http,
            Some("ssh") => Transport::Ssh,
            Some("git") => Transport::Git,
            Some(_) => return Err(UriError::Scheme),
            None => return Self::parse_short(text),
        };
        let mut url = Url::parse(text).map_err(|_| UriError::Form("it can't be read"))?;
        match url.host() {
            None => return Err(UriError::Form("it names no host")),
            Some(Host::Domain(host)) if host.is_empty() || host.starts_with('-') || host.contains('%') => {
                return Err(UriError::Form("its host is no host name"));
            }
            Some(_) => {}
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UriError::Form("it has a query or a fragment"));
        }
        if url.path().trim_matches('/').is_empty() || url.path().trim_start_matches('/').starts_with('-') {
            return Err(UriError::Form("it names no repository"));
        }
        if url.username().starts_with('-') || url.username().starts_with("%2D") {
            return Err(UriError::Form("its user name begins with a -"));
        }
        let password = url.password().map(|password| {
            SecretString::from(percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned())
        });
        if url.set_password(None).is_err() {
            return Err(UriError::Form("it can't have a password"));
        }
        if transport == Transport::Git && (password.is_some() || !url.username().is_empty()) {
            return Err(UriError::Form("git:// knows no users"));
        }
        Ok((Self { url, transport }, password))
    }

    /// `user@host:path`, as ssh users write it.
    fn parse_short(text: &str) -> Result<(Self, Option<SecretString>), UriError> {
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
        Self::parse(&format!("ssh://{user}@{host}/{}", path.trim_start_matches('/')))
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

    /// The same address with a password in it, as [`Self::parse`] reads it.
    pub fn with_password(&self, password: &SecretString) -> Result<SecretString, UriError> {
        let mut url = self.url.clone();
        let encoded = utf8_percent_encode(password.expose_secret(), NON_ALPHANUMERIC).to_string();
        url.set_password(Some(&encoded)).map_err(|()| UriError::Form("it can't have a password"))?;
        Ok(String::from(url).into())
    }

    /// The same address with another host, for a transport that can't be told separately where to connect.
    pub(super) fn at(&self, address: std::net::IpAddr) -> Option<String> {
        let mut url = self.url.clone();
        url.set_ip_host(address).ok()?;
        Some(url.into())
    }
}

impl fmt::Display for RepoUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses() {
        for (text, shown, password) in [
            ("https://example.org/a/b.git", "https://example.org/a/b.git", None),
            ("https://joe:s%40cret@example.org/b", "https://joe@example.org/b", Some("s@cret")),
            ("ssh://git@example.org:2222/b.git", "ssh://git@example.org:2222/b.git", None),
            ("git@example.org:a/b.git", "ssh://git@example.org/a/b.git", None),
            ("git://example.org/b", "git://example.org/b", None),
            ("http://[::1]:8000/b", "http://[::1]:8000/b", None),
        ] {
            let (uri, found) = RepoUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(uri.to_string(), shown);
            assert_eq!(found.as_ref().map(|secret| secret.expose_secret()), password);
        }
    }

    #[test]
    fn a_password_is_put_in_as_it_is_split_off() {
        for text in ["https://joe@example.org/b", "https://example.org/b", "git@example.org:b"] {
            let (uri, _) = RepoUri::parse(text).unwrap();
            for password in ["secret", "p@ss/w:örd%41 ?#"] {
                let whole = uri.with_password(&password.to_owned().into()).unwrap();
                let (again, found) = RepoUri::parse(whole.expose_secret()).unwrap();
                assert_eq!((again, found.unwrap().expose_secret()), (uri.clone(), password));
            }
        }
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
        ] {
            assert!(RepoUri::parse(text).is_err(), "`{text}` should be refused");
        }
    }
}
