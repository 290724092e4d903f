//! Podman, and the socket by which the agent asks it.

use super::super::client::{Agent, ClientError, block_on};
use super::finding::{Finding, Level, good, wrong};
use super::host::{USER, is_socket, output};
use crate::config::Config;

/// The oldest Podman whose Quadlet knows all that we write.
const PODMAN: (u32, u32) = (5, 3);

/// `podman version 5.4.2` → (5, 4).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.rsplit(' ').next()?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Whether it is there, and new enough.
pub(super) fn version_of(config: &Config) -> Finding {
    let text = output(&config.paths.podman.to_string_lossy(), &["--version"]);
    match text.as_deref().and_then(version) {
        Some(found) if found >= PODMAN => good("podman", text.unwrap_or_default()),
        Some((major, minor)) => wrong(
            "podman",
            Level::Bad,
            format!("Podman {major}.{minor} is too old; {}.{} is needed", PODMAN.0, PODMAN.1),
            "upgrade this host to Debian 13",
        ),
        None => wrong("podman", Level::Bad, "there is no Podman", "apt install podman"),
    }
}

/// systemd holds the socket, and starts who answers there.
pub(super) fn socket(config: &Config, uid: u32) -> Finding {
    let path = config.host.podman_socket_of(uid).to_string();
    let podman = Agent::Local(path.clone().into());
    match block_on(async { Ok(podman.call(http::Method::GET, "/version", None).await) }) {
        Ok(Ok(_)) => good("podman socket", "it answers"),
        Ok(Err(error)) if !matches!(error, ClientError::Connect { .. }) => {
            let next = format!("journalctl -n 20 _UID={uid} _SYSTEMD_USER_UNIT=podman.service tells why");
            wrong("podman socket", Level::Bad, format!("{path} is there, and Podman does not answer"), next)
        }
        _ if is_socket(&path) && !nix::unistd::geteuid().is_root() => good("podman socket", "it is there"),
        _ => {
            let next = format!("systemctl --user -M {USER}@ enable --now podman.socket");
            wrong("podman socket", Level::Bad, format!("{path} does not answer"), next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("podman version 5.4.2"), Some((5, 4)));
        assert_eq!(version("podman version 4.3"), Some((4, 3)));
        assert_eq!(version("nothing"), None);
    }
}
