//! The configuration: every outside address, path, bound and time limit, each with a default.
//!
//! Nothing else in the crate names a socket, a bus, a folder or a program, so that a test points the real clients at
//! another place by one value.

mod builds;
mod check;

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use thiserror::Error;

pub use builds::{Builds, Pull};

use crate::names::{AbsPath, BaseUrl, ImageRef, Network, ServiceUrl};

/// Where the configuration is read from when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/podkeeper/podkeeper.toml";

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file isn't the TOML that we know; the text names the line and the key.
    #[error("`{path}` is not a configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A value that can't be.
    #[error("`{path}`: `{key}` {why}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, as `section.key`.
        key: &'static str,
        /// What is wrong with its value.
        why: &'static str,
    },
}

/// The whole configuration. An empty file is a good one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the agent listens.
    pub listen: Listen,
    /// Folders and programs.
    pub paths: Paths,
    /// Podman and the service user's systemd manager.
    pub host: Host,
    /// Builds.
    pub builds: Builds,
    /// Services and their releases.
    pub services: Services,
    /// Git: pushes and external repositories.
    pub git: Git,
    /// Terminals.
    pub shell: Shell,
    /// What one request may take.
    pub limits: Limits,
    /// Signing in.
    pub auth: Auth,
}

/// Where the agent listens when systemd hands it no sockets, and how its address reads from outside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// The address of dashboard, REST interface and git.
    pub web: SocketAddr,
    /// The unix socket of the command line.
    pub local: AbsPath,
    /// The agent's address as a browser or git on another machine writes it.
    pub public_url: BaseUrl,
    /// Other addresses of the dashboard. Passkeys belong to one host each, so each has its own.
    pub origins: Vec<BaseUrl>,
    /// The address of a service, with `{name}` in the place of its name.
    pub service_url: ServiceUrl,
    /// Proxies whose `X-Forwarded-For` tells where a request comes from.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            web: SocketAddr::from(([127, 0, 0, 1], 7070)),
            local: AbsPath::known("/run/podkeeper/agent.sock"),
            public_url: BaseUrl::known("http://localhost:7070"),
            origins: Vec::new(),
            service_url: ServiceUrl::known("http://{name}.localhost:8080"),
            trusted_proxies: Vec::new(),
        }
    }
}

/// Folders and programs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// The agent's state: store, repositories, build contexts, keys. Also the service user's home.
    pub state: AbsPath,
    /// Where Quadlet reads the service user's container files.
    pub quadlets: AbsPath,
    /// The proxy's routing table: `HOST/PORT`, an empty file a route.
    pub routes: AbsPath,
    /// The service templates.
    pub templates: AbsPath,
    /// The recipe of the isolated shell's image: a folder with a Containerfile.
    pub shell: AbsPath,
    /// Git hooks, and what git and ssh ask for passwords.
    pub helpers: AbsPath,
    /// The git program.
    pub git: AbsPath,
    /// The podman program.
    pub podman: AbsPath,
    /// The buildah program, which builds images.
    pub buildah: AbsPath,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state: AbsPath::known("/var/lib/podkeeper"),
            quadlets: AbsPath::known("/var/lib/podkeeper/.config/containers/systemd"),
            routes: AbsPath::known("/var/lib/podkeeper-proxy/routes"),
            templates: AbsPath::known("/usr/share/podkeeper/templates"),
            shell: AbsPath::known("/usr/share/podkeeper/shell"),
            helpers: AbsPath::known("/usr/lib/podkeeper"),
            git: AbsPath::known("/usr/bin/git"),
            podman: AbsPath::known("/usr/bin/podman"),
            buildah: AbsPath::known("/usr/bin/buildah"),
        }
    }
}

impl Paths {
    /// The SQLite store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.state.join("agent/store.db")
    }
    /// Where the service user's manager reads its own units.
    #[must_use]
    pub fn user_units(&self) -> PathBuf {
        self.state.join(".config/systemd/user")
    }
    /// The bare repositories, `NAME.git` each.
    #[must_use]
    pub fn repositories(&self) -> PathBuf {
        self.state.join("git")
    }
    /// The build contexts, a folder a deployment.
    #[must_use]
    pub fn contexts(&self) -> PathBuf {
        self.state.join("builds")
    }
    /// What is kept from build to build, a folder a service.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.state.join("cache")
    }
    /// What tells of terminal sessions that must be cleared away after a crash, an empty file each.
    #[must_use]
    pub fn sessions(&self) -> PathBuf {
        self.state.join("agent/sessions")
    }
    /// For how long nothing has named an image, a file each.
    #[must_use]
    pub fn unnamed(&self) -> PathBuf {
        self.state.join("agent/unnamed")
    }

    /// For how long a working container of a build has been there.
    #[must_use]
    pub fn working_containers(&self) -> PathBuf {
        self.state.join("agent/working-containers")
    }

    /// For how long no container has had a volume that Podman named.
    #[must_use]
    pub fn unused_volumes(&self) -> PathBuf {
        self.state.join("agent/unused-volumes")
    }
    /// What of the disk is taken by what, as it was measured last.
    #[must_use]
    pub fn measured(&self) -> PathBuf {
        self.state.join("agent/measured.json")
    }
    /// The deploy keys of external repositories.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }

    /// The logins at registries, where Podman looks for them (containers-auth.json(5)).
    #[must_use]
    pub fn logins(&self) -> PathBuf {
        self.state.join(".config/containers/auth.json")
    }
}

/// Podman and the service user's systemd manager. Empty means: under `/run/user/UID` of the agent's own user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// Podman's REST socket.
    pub podman_socket: Option<AbsPath>,
    /// The bus of the service user's systemd manager.
    pub bus_socket: Option<AbsPath>,
}

impl Host {
    fn runtime(file: &'static str) -> AbsPath {
        AbsPath::known(format!("/run/user/{}/{file}", nix::unistd::getuid()))
    }
    /// Podman's REST socket.
    #[must_use]
    pub fn podman_socket(&self) -> AbsPath {
        self.podman_socket.clone().unwrap_or_else(|| Self::runtime("podman/podman.sock"))
    }
    /// The bus of the service user's systemd manager.
    #[must_use]
    pub fn bus_socket(&self) -> AbsPath {
        self.bus_socket.clone().unwrap_or_else(|| Self::runtime("bus"))
    }
}

/// Services and their releases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    /// The first port that a release may have on the host's loopback.
    pub first_port: u16,
    /// The last one.
    pub last_port: u16,
    /// How many releases of a service are kept.
    pub keep: u32,
    /// How long a new release may take until it is healthy.
    #[serde(deserialize_with = "duration")]
    pub health_timeout: Duration,
    /// How long the proxy may take to see a new route, until the old release loses its own.
    #[serde(deserialize_with = "duration")]
    pub settle: Duration,
    /// How long an old release goes on after traffic has moved.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
    /// How long between two looks at everything, for what a crash, an administrator or a lost event left undone.
    #[serde(deserialize_with = "duration")]
    pub look: Duration,
    /// How many services the host takes.
    pub max: u32,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            first_port: 20000,
            last_port: 29999,
            keep: 5,
            health_timeout: Duration::from_secs(30),
            settle: Duration::from_millis(200),
            drain: Duration::from_secs(10),
            look: Duration::from_secs(60),
            max: 500,
        }
    }
}

/// Git: pushes and external repositories.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Git {
    /// The largest push, and the most that is fetched of an external repository, in MiB.
    pub max_push_mib: u64,
    /// How many files and folders a commit may have.
    pub max_files: u64,
    /// What a commit's files may take, in MiB.
    pub max_checkout_mib: u64,
    /// The memory of git and of each program that it starts, in MiB.
    pub memory_mib: u64,
    /// How long fetching an external repository may take.
    #[serde(deserialize_with = "duration")]
    pub fetch_timeout: Duration,
    /// Whether an external repository may lie at a private, loopback or link-local address.
    pub allow_private: bool,
}

impl Default for Git {
    fn default() -> Self {
        Self {
            max_push_mib: 1024,
            max_files: 200_000,
            max_checkout_mib: 4096,
            memory_mib: 512,
            fetch_timeout: Duration::from_secs(300),
            allow_private: false,
        }
    }
}

/// Terminals: the isolated shell, and shells in services' containers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shell {
    /// The isolated shell's image. None, which is written as an empty text: the one that `paths.shell` is built to.
    #[serde(deserialize_with = "image")]
    pub image: Option<ImageRef>,
    /// Memory limit of an isolated shell, in MiB.
    pub memory_mib: u64,
    /// CPU limit of an isolated shell, in percent of one core.
    pub cpu_percent: u32,
    /// How many processes and threads an isolated shell may have.
    pub tasks: u32,
    /// Networks that an isolated shell reaches beside the internet.
    pub allow: Vec<Network>,
    /// How many sessions at once.
    pub sessions: u32,
    /// How long a session goes on that nobody watches.
    #[serde(deserialize_with = "duration")]
    pub detached: Duration,
    /// How long a session goes on that is watched and silent, without input and output.
    #[serde(deserialize_with = "duration")]
    pub idle: Duration,
    /// How long a program waits for a viewer that takes nothing.
    #[serde(deserialize_with = "duration")]
    pub patience: Duration,
}

impl Default for Shell {
    fn default() -> Self {
        Self {
            image: None,
            memory_mib: 1024,
            cpu_percent: 100,
            tasks: 512,
            allow: Vec::new(),
            sessions: 8,
            detached: Duration::from_secs(15 * 60),
            idle: Duration::from_secs(8 * 3600),
            patience: Duration::from_millis(250),
        }
    }
}

/// What one request may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest body of an ordinary request, in KiB.
    pub body_kib: u64,
    /// How long a client may take to send a request's head.
    #[serde(deserialize_with = "duration")]
    pub head_timeout: Duration,
    /// How long a client may send nothing in the middle of a body, and how long all its silences together may be, beside
    /// what `body_rate_kib` gives.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// How many KiB of a body are worth a second of waiting for more of it.
    pub body_rate_kib: NonZeroU64,
    /// How long a client may take nothing of what it is sent.
    #[serde(deserialize_with = "duration")]
    pub unread: Duration,
    /// How long requests and transfers go on when the agent stops.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
    /// How long journald may take to write the last line of what has ended.
    #[serde(deserialize_with = "duration")]
    pub journal: Duration,
    /// How many connections at once, on each listening socket.
    pub connections: u32,
    /// How many of them at once by which nobody has signed in, from all addresses.
    pub anonymous: u32,
    /// The same from one address.
    pub anonymous_each: u32,
    /// How many connects of Socket.IO from one address, a second.
    pub handshakes: NonZeroU32,
    /// How many wrong keys or passwords from one address, a minute.
    pub guesses: NonZeroU32,
    /// How many rows of what was done the audit log keeps; of what was refused it keeps a tenth of that.
    pub audit_rows: u32,
    /// How old a row of the audit log becomes.
    #[serde(deserialize_with = "duration")]
    pub audit_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_kib: 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            body_rate_kib: NonZeroU64::MIN.saturating_add(3),
            unread: Duration::from_secs(15),
            grace: Duration::from_millis(4500),
            journal: Duration::from_secs(10),
            connections: 1024,
            anonymous: 256,
            anonymous_each: 64,
            handshakes: NonZeroU32::MIN.saturating_add(49),
            guesses: NonZeroU32::MIN.saturating_add(19),
            audit_rows: 100_000,
            audit_age: Duration::from_secs(2 * 365 * 24 * 3600),
        }
    }
}

/// Signing in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// How long a session lasts that nobody uses.
    #[serde(deserialize_with = "duration")]
    pub session_idle: Duration,
    /// How long a session lasts at all.
    #[serde(deserialize_with = "duration")]
    pub session_max: Duration,
    /// How long a browser may take to answer with a passkey.
    #[serde(deserialize_with = "duration")]
    pub ceremony: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            session_idle: Duration::from_secs(7 * 24 * 3600),
            session_max: Duration::from_secs(30 * 24 * 3600),
            ceremony: Duration::from_secs(5 * 60),
        }
    }
}

/// The configuration as it is now; a reload puts another in its place. A clone is another handle on the same one.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    current: Arc<RwLock<Arc<Config>>>,
}

impl LiveConfig {
    /// Begins with `config`.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(config))) }
    }

    /// The configuration at this moment.
    #[must_use]
    pub fn get(&self) -> Arc<Config> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `config` in its place. Sockets, paths and what connections take are read at the agent's start only and
    /// stay; false where that makes a difference.
    pub fn replace(&self, config: Config) -> bool {
        let running = self.get();
        let mut taken = config.clone();
        taken.listen.web = running.listen.web;
        taken.listen.local = running.listen.local.clone();
        taken.paths = running.paths.clone();
        taken.host = running.host.clone();
        taken.limits.head_timeout = running.limits.head_timeout;
        taken.limits.connections = running.limits.connections;
        taken.limits.anonymous = running.limits.anonymous;
        taken.limits.anonymous_each = running.limits.anonymous_each;
        let whole = taken == config;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(taken);
        whole
    }
}

/// A length of time such as `"30s"`, `"15m"`, `"1h"`, `"7d"` or `"500ms"`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let parsed = number.parse::<u64>().ok().and_then(|n| match unit {
        "ms" => Some(Duration::from_millis(n)),
        "s" => Some(Duration::from_secs(n)),
        "m" => n.checked_mul(60).map(Duration::from_secs),
        "h" => n.checked_mul(3600).map(Duration::from_secs),
        "d" => n.checked_mul(24 * 3600).map(Duration::from_secs),
        _ => None,
    });
    parsed.ok_or_else(|| {
        serde::de::Error::custom("a length of time is a number with its unit, such as \"30s\", \"15m\" or \"500ms\"")
    })
}

/// An image, or an empty text.
fn image<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ImageRef>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

impl Config {
    /// Reads the file at `path`. A file that isn't there is an empty one only where `optional` says so.
    pub fn load(path: &Path, optional: bool) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(source) if optional && source.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads a configuration's text; `path` is only for the messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        config.check().map_err(|(key, why)| ConfigError::Value { path: path.to_owned(), key, why })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../config/podkeeper.toml");

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("podkeeper.toml"))
    }

    /// The shipped file with its keys' comment signs taken away: `#key = value` is a key, `# text` is prose.
    fn uncommented() -> String {
        let key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.contains('=');
        SHIPPED
            .lines()
            .map(|line| if key(line) { &line[1..] } else { line })
            .fold(String::new(), |all, line| all + line + "\n")
    }

    #[test]
    fn the_shipped_file_sets_nothing() {
        let config = parse(SHIPPED).expect("the shipped file is good");
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn the_shipped_file_names_every_key_with_its_default() {
        let config = parse(&uncommented()).expect("every commented key is a real one");
        let shown = |config: &Config| format!("{config:#?}");
        let host = Host { podman_socket: None, bus_socket: None };
        assert_eq!(shown(&Config { host: host.clone(), ..config }), shown(&Config { host, ..Config::default() }));
        let keys = uncommented().lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
        let fields = format!("{:#?}", Config::default()).matches("\n        ").count();
        assert!(keys >= 25, "the shipped file names {keys} keys; the configuration has about {fields}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = parse("[builds]\nparallel = 1\nparalel = 2\n").expect_err("a typo");
        let said = std::error::Error::source(&error).expect("what the parser says").to_string();
        assert!(said.contains("line 3") && said.contains("paralel"), "{said}");
        assert!(!error.to_string().contains("paralel"), "whoever shows what led to it tells it once: {error}");
    }

    #[test]
    fn a_bad_value_is_told_with_its_key() {
        for (text, key) in [
            ("[paths]\nstate = \"var/lib\"", "state"),
            ("[paths]\npodman = \"/opt/my podman\"", "podman"),
            ("[host]\nbus_socket = \"/run/bus,guid=1\"", "bus_socket"),
            ("[listen]\nlocal = \"/run/$X\"", "local"),
            ("[listen]\npublic_url = \"http://a/\"", "public_url"),
            ("[listen]\norigins = [\"http://a\", \"http://u@b\"]", "origins"),
            ("[listen]\nservice_url = \"http://{name}_x.org\"", "service_url"),
            ("[shell]\nimage = \"--all\"", "image"),
            ("[shell]\nallow = [\"10.0.0.0/+8\"]", "allow"),
        ] {
            let error = parse(text).expect_err(text);
            let said = std::error::Error::source(&error).expect("what the parser says").to_string();
            assert!(said.contains("line 2") && said.contains(&format!("{key} = ")), "{said}");
        }
    }

    #[test]
    fn the_hosts_own_sockets_have_good_paths() {
        let host = Host::default();
        for path in [host.podman_socket(), host.bus_socket()] {
            assert_eq!(path.as_str().parse(), Ok(path));
        }
    }

    #[test]
    fn a_reload_takes_everything_but_what_is_read_at_the_start() {
        let live = LiveConfig::new(Config::default());
        assert!(live.replace(parse("[services]\nkeep = 7\n[listen]\npublic_url = \"http://a\"").expect("it is good")));
        assert!(!live.replace(parse("[services]\nkeep = 8\n[paths]\nstate = \"/elsewhere\"").expect("it is good")));
        assert_eq!(live.get().services.keep, 8);
        assert_eq!(live.get().paths, Paths::default());
    }
}
