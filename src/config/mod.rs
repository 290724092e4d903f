//! The configuration: every outside address, path, bound and time limit, each with a default. One file a section.
//!
//! Nothing else in the crate names a socket, a bus, a folder or a program of the host, so that a test points the real
//! clients at another place by one value. What nobody sets is named in [`system`]; the kernel's own files are constants where
//! they are read.

mod auth;
mod builds;
mod check;
mod git;
mod host;
mod limits;
mod listen;
mod live;
mod load;
mod paths;
mod services;
mod shell;
pub mod system;
mod values;
mod waits;

use serde::Deserialize;

pub use auth::Auth;
pub use builds::{Builds, Pull};
pub use git::Git;
pub use host::Host;
pub use limits::Limits;
pub use listen::Listen;
pub use live::LiveConfig;
pub use load::ConfigError;
pub use paths::Paths;
pub use services::Services;
pub use shell::Shell;
pub use waits::Waits;

/// Where the configuration is read from when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/podkeeper/podkeeper.toml";

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
    /// The agent's own waits.
    #[serde(skip)]
    pub waits: Waits,
}
