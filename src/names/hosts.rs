//! Hosts: those of routes, and registries.

use std::str::FromStr;

use super::NameError;
use super::text::{shown, text_name};

text_name! {
    /// A host name that a route may have: lower-case labels with dots, at most 253 bytes. It becomes a folder's name. An
    /// address is none: whoever answers at it could set the cookies that the dashboard gets at it.
    HostName
}

impl HostName {
    /// One that is known to be good.
    pub(super) fn known(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Whether `text` consists of labels as DNS has them, in lower case.
fn is_host(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether a browser takes `host` for an IPv4 address: where its last label is a number, in hexadecimal, too
/// (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    last.bytes().all(|b| b.is_ascii_digit()) || last.strip_prefix("0x").is_some_and(hexadecimal)
}

impl FromStr for HostName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_host(text) && !ends_in_a_number(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Host(shown(text)))
        }
    }
}

text_name! {
    /// An image registry: a host name, and a port where it isn't the usual one, as an image's name begins with it.
    RegistryHost
}

impl FromStr for RegistryHost {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let port =
            port.is_none_or(|port| port.parse().is_ok_and(|number: u16| number > 0 && number.to_string() == port));
        if port && is_host(host) { Ok(Self(text.to_owned())) } else { Err(NameError::Registry(shown(text))) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn hosts_and_registries() {
        check::<HostName>(
            &["blog.localhost", "a.b-c.de", "1.example", "0x1.b"],
            &[
                "",
                ".a",
                "a..b",
                "-a.b",
                "A.b",
                "../x",
                "*",
                "a_b",
                "127.0.0.1",
                "127.1",
                "2130706433",
                "a.0x7f",
                "a.0x",
                "::1",
                "[::1]",
                "0x7f000001",
            ],
        );
        check::<RegistryHost>(
            &["docker.io", "localhost:5000", "registry.example.org:65535", "10.0.0.1"],
            &[
                "",
                ":5000",
                "a:",
                "a:0",
                "a:05",
                "a:65536",
                "a:b",
                "a:1:2",
                "https://a",
                "a/b",
                "A",
                "../x",
                "u@a",
                "-a",
            ],
        );
    }
}
