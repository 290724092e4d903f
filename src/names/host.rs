//! What a host's configuration names, each parsed once, into a type that holds only what is allowed wherever it goes.

use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::shown;

/// Why a value of the configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// A path.
    #[error("`{0}` is not a path: it takes an absolute one of letters, digits and ._-+@~, without `.` and `..`")]
    Path(String),
    /// A network.
    #[error("`{0}` is not a network, like 192.168.1.0/24 or fd12:3456::/48")]
    Network(String),
    /// An address of the agent.
    #[error("`{0}` must be an http or https address without a slash at its end, such as https://podkeeper.example.org")]
    BaseUrl(String),
    /// A pattern of addresses that names no service.
    #[error("`{0}` must hold `{{name}}`")]
    NoName(String),
    /// A pattern of addresses that are not a host's.
    #[error(
        "`{0}` must be an http or https address without a slash at its end, and its host a host name with any \
         service's name, of up to 40 characters, in the place of `{{name}}`"
    )]
    ServiceUrl(String),
    /// An image.
    #[error("`{0}` is not an image: it takes a reference such as `docker.io/library/debian:13`")]
    Image(String),
}

/// A text of the configuration, and what it can be used as.
macro_rules! setting {
    ($(#[$doc:meta])* $name:ident as $target:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// One that this program spells out itself.
            pub(crate) fn known(text: impl Into<String>) -> Self {
                let text = text.into();
                debug_assert!(text.parse().is_ok_and(|parsed: Self| parsed.0 == text), "`{text}` is no good one");
                Self(text)
            }

            /// It as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::ops::Deref for $name {
            type Target = $target;
            fn deref(&self) -> &$target {
                self.0.as_ref()
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(setting: $name) -> Self {
                setting.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::names::SettingError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}
pub(super) use setting;

setting! {
    /// The path of a file or folder: absolute, without `.`, `..` and double slashes, at most 500 bytes. Its letters,
    /// digits and few marks mean nothing in a unit (systemd.syntax(7)), in an address of D-Bus
    /// (<https://dbus.freedesktop.org/doc/dbus-specification.html#addresses>), in a URL and in Podman's options.
    AbsPath as Path
}

impl FromStr for AbsPath {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@~".contains(&b);
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        let good = text.starts_with('/')
            && text.len() <= 500
            && text.bytes().all(plain)
            && !parts.is_empty()
            && !parts.iter().any(|part| [".", ".."].contains(part));
        if good { Ok(Self(format!("/{}", parts.join("/")))) } else { Err(SettingError::Path(shown(text))) }
    }
}

impl TryFrom<PathBuf> for AbsPath {
    type Error = SettingError;
    fn try_from(path: PathBuf) -> Result<Self, SettingError> {
        path.to_string_lossy().parse()
    }
}

impl From<AbsPath> for PathBuf {
    fn from(path: AbsPath) -> Self {
        path.0.into()
    }
}

impl AsRef<Path> for AbsPath {
    fn as_ref(&self) -> &Path {
        self
    }
}

impl AsRef<OsStr> for AbsPath {
    fn as_ref(&self) -> &OsStr {
        self.0.as_ref()
    }
}

/// A network of IP addresses, as `192.168.1.0/24` is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Several of them, with commas between.
    #[must_use]
    pub fn list(networks: &[Self]) -> String {
        networks.iter().map(Self::to_string).collect::<Vec<_>>().join(",")
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let parsed = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, number): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
            let longest = if address.is_ipv4() { 32 } else { 128 };
            // `parse` alone would take "+8" and "08".
            (number <= longest && number.to_string() == prefix).then_some(Self { address, prefix: number })
        };
        parsed().ok_or_else(|| SettingError::Network(shown(text)))
    }
}

impl TryFrom<String> for Network {
    type Error = SettingError;
    fn try_from(text: String) -> Result<Self, SettingError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn paths() {
        for (text, is) in [
            ("/usr/bin/git", "/usr/bin/git"),
            ("/var/lib//podkeeper/", "/var/lib/podkeeper"),
            ("/tmp/.tmpAb12/...", "/tmp/.tmpAb12/..."),
            ("/run/user/999/netns/netns-4a6f_x+y@~z", "/run/user/999/netns/netns-4a6f_x+y@~z"),
        ] {
            assert_eq!(text.parse::<AbsPath>().unwrap().as_str(), is);
        }
        for text in [
            "",
            "/",
            "//",
            "a",
            "./a",
            "~/a",
            "../a",
            "/a/../b",
            "/a/./b",
            "/a b",
            "/a\tb",
            "/a\n",
            "/a\0",
            "/a\u{7f}",
            "/ä",
            "/$HOME",
            "/a%h",
            "/a\\x20",
            "/a\"",
            "/a'",
            "/a:b",
            "/a,guid=1",
            "/a;b",
            "/a=b",
            "/a?b",
            "/a#b",
            "/a*",
            "/{a}",
        ] {
            assert!(text.parse::<AbsPath>().is_err(), "{text:?}");
        }
        assert!(format!("/{}", "a".repeat(500)).parse::<AbsPath>().is_err());
        assert!(AbsPath::try_from(PathBuf::from(OsStr::from_bytes(b"/a\xff"))).is_err());
    }

    #[test]
    fn networks() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.7/32", "fd12:3456::/48", "::/0", "fe80::1/128"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/-1",
            "10.0.0.0/33",
            "10.0.0.0/8 ",
            " 10.0.0.0/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0/8,11.0.0.0/8",
            "10.0.0.0/8/8",
            "fd00::/129",
            "fe80::1%eth0/64",
            "[::]/0",
            "a/8",
            "10.0.0.0/8\n",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
        let two = ["10.0.0.0/8", "fd77::/64"].map(|text| text.parse().unwrap());
        assert_eq!(Network::list(&two), "10.0.0.0/8,fd77::/64");
        assert_eq!(Network::list(&[]), "");
    }
}
