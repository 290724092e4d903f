//! Names that come from outside, each parsed once, at the edge, into a type that can only hold a good one.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::problem::{Code, Problem};

mod host;
mod mounts;
mod people;
mod program;
mod repository;
mod secrets;
mod urls;

pub use host::{AbsPath, Network, SettingError};
pub use mounts::{MOST_VOLUMES, MountError, MountPath, Volumes};
pub use people::{DeliveryId, Excerpt, HealthPath, PasskeyName, SenderName, TokenName};
pub use program::ImageRef;
pub use repository::{RepoUri, Transport, UriError};
pub use secrets::{EnvValue, SecretName};
pub use urls::{BaseUrl, ServiceUrl};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// A service name that isn't a DNS label in our alphabet.
    #[error(
        "`{0}` is not a service name: it takes 1 to 40 of a-z, 0-9 and -, starting with a letter and not ending with -"
    )]
    Service(String),
    /// A service name that the agent keeps for itself.
    #[error("the name `{0}` is reserved: it would be read as something of the agent's or of the host's")]
    Reserved(String),
    /// A commit id that isn't 40 or 64 lower-case hexadecimal digits.
    #[error("`{0}` is not a commit id: it takes 40 or 64 hexadecimal digits")]
    Commit(String),
    /// A branch name that git would not take, or that could be read as an option.
    #[error("`{0}` is not a branch name")]
    Branch(String),
    /// A template name.
    #[error("`{0}` is not a template name: it takes 1 to 40 of a-z, 0-9 and -")]
    Template(String),
    /// An environment variable's key.
    #[error("`{0}` is not a variable name: it takes letters, digits and _, and starts with no digit")]
    EnvKey(String),
    /// A variable's key that makes its secret's name too long.
    #[error("the variable name `{0}` is too long for a service with such a name: shorten it")]
    LongKey(EnvKey),
    /// A host name.
    #[error("`{0}` is not a host name: it takes a-z, 0-9, - and ., at most 253 characters, and is no address")]
    Host(String),
    /// An image registry.
    #[error(
        "`{0}` is not a registry: it takes a host name and, if need be, a port, such as `registry.example.org:5000`"
    )]
    Registry(String),
    /// An image's id.
    #[error("this is no id of an image: it takes 64 hexadecimal digits")]
    ImageId,
    /// A volume's name.
    #[error(
        "`{0}` is not a volume name: it takes 1 to 40 of a-z, 0-9 and -, and is not `volume`, which Podman keeps for itself"
    )]
    Volume(String),
    /// A secret's name.
    #[error("`{0}` is not a secret of Podkeeper's")]
    Secret(String),
    /// A scope.
    #[error("`{0}` is not a scope: it is `read`, `deploy` or `admin`")]
    Scope(String),
    /// A hook's key; it isn't repeated.
    #[error("this is no key for a hook: it takes 24 to 200 printable ASCII characters")]
    HookKey,
    /// A terminal session.
    #[error("`{0}` is not a session: it is eight of a-z and 2-7, as `podkeeper shell --list` shows")]
    SessionId(String),
    /// A terminal session's name.
    #[error("`{0}` is not a session name: it takes 1 to 40 of a-z, 0-9 and -, starting with a letter")]
    Session(String),
    /// A token's name.
    #[error("`{0}` is not a token's name: a token's name takes 1 to 64 of letters, digits, - _ . and @")]
    Token(String),
    /// A passkey's name.
    #[error("`{0}` is not a passkey's name: it takes 1 to 64 characters that are shown as they are")]
    Passkey(String),
    /// A kind of forge.
    #[error("`{0}` is not a kind of forge")]
    Sender(String),
    /// A delivery's number; it isn't repeated.
    #[error("the delivery's number is not 1 to 200 printable ASCII characters")]
    DeliveryId,
    /// A path that health is asked for at.
    #[error("`{0}` is not a path: it begins with / and takes at most 500 printable ASCII characters, without ..")]
    HealthPath(String),
    /// A number (deployment, release) that isn't one.
    #[error("`{0}` is not a number from 1 on")]
    Number(String),
}

impl NameError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Reserved(_) => Problem::new(Code::NameReserved, self.to_string())
                .with_hint("choose another name for the service, such as `my-app`"),
            _ => Problem::new(Code::InvalidName, self.to_string()),
        }
    }
}

/// At most this much of a refused name is repeated in an error, so that an error stays short.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_default).collect()
}

/// What no terminal shows as it is: control characters, also those behind ASCII, what turns the writing round, and what
/// takes no place (Unicode's Bidi_Control, and of the format characters those that join no letters).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=40).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[bytes.len() - 1] != b'-'
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

use text_name;

text_name! {
    /// The id of an image, or the digest of a blob: SHA-256 in 64 hexadecimal digits, without the `sha256:` before it
    /// (OCI image-spec, descriptor.md, "Digests").
    ImageId
}

impl FromStr for ImageId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() == 64 && digits.bytes().all(hex) {
            Ok(Self(digits.to_owned()))
        } else {
            Err(NameError::ImageId)
        }
    }
}

text_name! {
    /// A service's name: `^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$`, so that it is a DNS label, an image name and a unit
    /// prefix at once, and not one that the agent keeps for itself.
    ServiceName
}

impl FromStr for ServiceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        const RESERVED: [&str; 9] =
            ["available", "status", "build", "podkeeper", "podkeeper-proxy", "localhost", "podman", "app", "git"];
        if !is_label(text) {
            return Err(NameError::Service(shown(text)));
        }
        if RESERVED.contains(&text) || text.starts_with("build-") || text.starts_with("podkeeper-") {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

text_name! {
    /// A commit id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
    CommitId
}

impl FromStr for CommitId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex && (text.len() == 40 || text.len() == 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Commit(shown(text)))
        }
    }
}

text_name! {
    /// A branch's short name (`main`, `feature/x`), by the rules of git-check-ref-format(1), at most 200 bytes.
    BranchName
}

impl FromStr for BranchName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let joins = |c: char| matches!(c, '\u{200c}' | '\u{200d}');
        let refused = |c: char| is_hidden(c) || joins(c) || " ~^:?*[\\".contains(c);
        let good = !text.is_empty()
            && text.len() <= 200
            && !text.starts_with('-')
            && text != "@"
            && !text.chars().any(refused)
            && !text.contains("..")
            && !text.contains("@{")
            && !text.ends_with('.')
            && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Branch(shown(text))) }
    }
}

text_name! {
    /// A template's name, which is its folder's.
    TemplateName
}

impl FromStr for TemplateName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Template(shown(text))) }
    }
}

text_name! {
    /// A volume's name within its service. Podman knows it as `SERVICE.VOLUME`, and takes what ends with `.volume` for a
    /// unit's name (podman-systemd.unit(5)).
    VolumeName
}

impl FromStr for VolumeName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) && text != "volume" { Ok(Self(text.to_owned())) } else { Err(NameError::Volume(shown(text))) }
    }
}

text_name! {
    /// An environment variable's key, `^[A-Za-z_][A-Za-z0-9_]*$` (POSIX), at most 200 bytes.
    EnvKey
}

impl FromStr for EnvKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.len() <= 200
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::EnvKey(shown(text))) }
    }
}

text_name! {
    /// A host name that a route may have: lower-case labels with dots, at most 253 bytes. It becomes a folder's name. An
    /// address is none: whoever answers at it could set the cookies that the dashboard gets at it.
    HostName
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

/// The key of a service's hook: whoever has it may ask for a build. A new one is also a signing token of the Standard
/// Webhooks (`whsec_` and base64), so that one key serves every forge.
#[derive(Clone, PartialEq, Eq)]
pub struct HookKey(String);

impl HookKey {
    const PREFIX: &str = "whsec_";

    /// The key that these random bytes make. None where it would hold a `+` or a `/`, which an address must escape.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Option<Self> {
        let text = STANDARD.encode(bytes);
        (!text.contains(['+', '/'])).then(|| Self(format!("{}{text}", Self::PREFIX)))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes that sign by the rule of the Standard Webhooks.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        let decoded = self.0.strip_prefix(Self::PREFIX).and_then(|text| STANDARD.decode(text).ok());
        decoded.unwrap_or_else(|| self.0.clone().into_bytes())
    }
}

impl FromStr for HookKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
        let good = (24..=200).contains(&text.len()) && text.bytes().all(printable) && text.trim() == text;
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::HookKey) }
    }
}

impl fmt::Debug for HookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookKey(***)")
    }
}

text_name! {
    /// What somebody calls a terminal session.
    SessionName
}

impl FromStr for SessionName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Session(shown(text))) }
    }
}

text_name! {
    /// A terminal session: eight of a-z and 2-7, drawn at random. It names the session's container and slice, and marks
    /// its processes.
    SessionId
}

impl SessionId {
    /// The length of one.
    pub const LENGTH: usize = 8;
}

impl FromStr for SessionId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let base32 = text.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
        if base32 && text.len() == Self::LENGTH {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::SessionId(shown(text)))
        }
    }
}

macro_rules! number_name {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "i64")]
        pub struct $name(pub $inner);

        impl TryFrom<i64> for $name {
            type Error = NameError;
            fn try_from(number: i64) -> Result<Self, NameError> {
                let refused = || NameError::Number(number.to_string());
                if number > 0 { <$inner>::try_from(number).map(Self).map_err(|_| refused()) } else { Err(refused()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                // `parse` alone would take "+1", "01" and 0; one number must have one spelling.
                match text.parse() {
                    Ok(n) if n > 0 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') => Ok(Self(n)),
                    _ => Err(NameError::Number(shown(text))),
                }
            }
        }
    };
}

number_name! {
    /// A deployment's number, unique on the host, counted from 1.
    DeploymentId(i64)
}
number_name! {
    /// A release's number within its service, counted from 1 and never used again.
    ReleaseNumber(u32)
}

/// A release of a service; it names the unit, the Quadlet file, the container and the image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseName {
    /// The service.
    pub service: ServiceName,
    /// The release's number.
    pub number: ReleaseNumber,
}

impl ReleaseName {
    /// The release `number` of `service`.
    #[must_use]
    pub fn new(service: &ServiceName, number: ReleaseNumber) -> Self {
        Self { service: service.clone(), number }
    }
    /// The release whose health check the unit named `unit` runs, where it is one.
    #[must_use]
    pub fn of_check(unit: &str) -> Option<Self> {
        Self::of_container(unit.strip_prefix("podkeeper-check-")?.strip_suffix(".service")?)
    }
    /// The release whose container is named `name`, where it is one.
    #[must_use]
    pub fn of_container(name: &str) -> Option<Self> {
        let (service, number) = name.rsplit_once('-')?;
        Some(Self { service: service.parse().ok()?, number: number.parse().ok()? })
    }
    /// `blog@41.service`.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("{}@{}.service", self.service, self.number)
    }
    /// `podkeeper-check-blog-41.service`, which runs its health check once. No service has a name that begins so.
    #[must_use]
    pub fn check_service(&self) -> String {
        format!("podkeeper-check-{}.service", self.container())
    }
    /// `podkeeper-check-blog-41.timer`, which starts that again and again.
    #[must_use]
    pub fn check_timer(&self) -> String {
        format!("podkeeper-check-{}.timer", self.container())
    }
    /// `blog@41.container`, the Quadlet file.
    #[must_use]
    pub fn quadlet_file(&self) -> String {
        format!("{}@{}.container", self.service, self.number)
    }
    /// `blog-41`, the container.
    #[must_use]
    pub fn container(&self) -> String {
        format!("{}-{}", self.service, self.number)
    }
    /// `blog.data`, the Podman volume behind one of the service's names for it. The dot, which no service's name holds,
    /// keeps `blog`'s `api-data` and `blog-api`'s `data` apart.
    #[must_use]
    pub fn volume(&self, name: &VolumeName) -> String {
        format!("{}.{name}", self.service)
    }
    /// `localhost/podkeeper/blog:41`, the image that was built for it.
    #[must_use]
    pub fn image(&self) -> String {
        format!("localhost/podkeeper/{}:{}", self.service, self.number)
    }
}

/// The 65,536 ids of the user namespace that belong to one service for its life, so that each of its releases can read
/// the volumes of the one before. Counted in the service user's own mapping, where 0 is that user itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id.
    pub base: u32,
}

impl IdRange {
    /// How many ids a range has.
    pub const SIZE: u32 = 65_536;

    /// How many ranges there are for services.
    pub const SERVICES: u32 = 1023;

    /// The range of the shells, behind those of all services. Each shell is in a user namespace of its own, and they
    /// share the ids, so that each can read the home.
    pub const SHELLS: Self = Self::of_slot(Self::SERVICES);

    /// The range of the slot `slot`, counted from 0.
    #[must_use]
    pub const fn of_slot(slot: u32) -> Self {
        Self { base: 1 + slot * Self::SIZE }
    }
}

/// What a credential may do; each holds the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See everything but secrets.
    Read,
    /// Push, start, stop, restart, roll back.
    Deploy,
    /// Everything.
    Admin,
}

impl Scope {
    /// Every scope, the smallest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Deploy, Self::Admin];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| NameError::Scope(shown(text)))
    }
}

/// Who asks: it is written beside each deployment, and into the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// An API token, by its name, whether it came as a cookie's session or as a header.
    Token(TokenName),
    /// Whoever has the git password.
    GitPassword,
    /// A passkey, by its name.
    Passkey(PasskeyName),
    /// An enrolment link, which registers a passkey and does nothing else.
    Link,
    /// A process on the host that spoke over the agent's unix socket, by its user id.
    Local(u32),
    /// A forge that has the key of the service's hook, by its kind.
    Hook(SenderName),
    /// The agent itself, ending what it found half done.
    Agent,
}

impl FromStr for Actor {
    type Err = NameError;
    /// The inverse of `Display`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            Some(("token", name)) => name.parse().map(Self::Token),
            Some(("passkey", name)) => Ok(Self::Passkey(PasskeyName::kept(name))),
            Some(("hook", sender)) => sender.parse().map(Self::Hook),
            Some(("local", uid)) => uid.parse().map(Self::Local).map_err(|_| NameError::Number(shown(uid))),
            _ if text == "link" => Ok(Self::Link),
            _ if text == "agent" => Ok(Self::Agent),
            _ if text == "git-password" => Ok(Self::GitPassword),
            _ => Err(NameError::Number(shown(text))),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Passkey(name) => write!(f, "passkey:{name}"),
            Self::Link => f.write_str("link"),
            Self::Local(uid) => write!(f, "local:{uid}"),
            Self::Hook(sender) => write!(f, "hook:{sender}"),
            Self::Agent => f.write_str("agent"),
            Self::GitPassword => f.write_str("git-password"),
        }
    }
}

#[cfg(test)]
mod tests;
