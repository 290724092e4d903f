//! Podman and the service user's systemd manager.

use serde::Deserialize;

use crate::names::AbsPath;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_sockets_have_good_paths() {
        let host = Host::default();
        for path in [host.podman_socket(), host.bus_socket()] {
            assert_eq!(path.as_str().parse(), Ok(path));
        }
    }
}
