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
    /// Podman's REST socket, where this is the service user.
    #[must_use]
    pub fn podman_socket(&self) -> AbsPath {
        self.podman_socket_of(nix::unistd::getuid().as_raw())
    }

    /// Podman's REST socket, where the service user has this number.
    #[must_use]
    pub fn podman_socket_of(&self, uid: u32) -> AbsPath {
        self.podman_socket.clone().unwrap_or_else(|| runtime(uid, "podman/podman.sock"))
    }

    /// The bus of the service user's systemd manager, where this is that user.
    #[must_use]
    pub fn bus_socket(&self) -> AbsPath {
        self.bus_socket_of(nix::unistd::getuid().as_raw())
    }

    /// The bus of the service user's systemd manager, where that user has this number.
    #[must_use]
    pub fn bus_socket_of(&self, uid: u32) -> AbsPath {
        self.bus_socket.clone().unwrap_or_else(|| runtime(uid, "bus"))
    }
}

/// A file in a user's runtime folder (user-runtime-dir@.service(5)).
fn runtime(uid: u32, file: &str) -> AbsPath {
    AbsPath::known(format!("/run/user/{uid}/{file}"))
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
