//! The user that everything runs as.

use std::path::Path;

use super::finding::{Finding, Level, good, wrong};
use super::host::{USER, is_socket};
use crate::config::{Config, system};

/// It is not there.
pub(super) fn missing() -> Finding {
    wrong("user", Level::Bad, format!("there is no user {USER}"), "apt install --reinstall podkeeper-host")
}

/// Whether its services start at boot.
pub(super) fn lingering() -> Finding {
    if Path::new(system::LINGERING).join(USER).exists() {
        good("lingering", "on: the services start at boot")
    } else {
        let next = format!("loginctl enable-linger {USER}");
        wrong("lingering", Level::Bad, "off: the services end with the last log-in and don't start at boot", next)
    }
}

/// Whether its systemd answers.
pub(super) fn bus(config: &Config, uid: u32) -> Finding {
    let path = config.host.bus_socket_of(uid).to_string();
    if std::os::unix::net::UnixStream::connect(&path).is_ok() || (is_socket(&path) && !nix::unistd::geteuid().is_root())
    {
        good("user manager", "its bus answers")
    } else {
        let restart = format!("systemctl restart user-runtime-dir@{uid} user@{uid}");
        let next = format!("{restart}; apt install dbus-user-session, where that is missing");
        wrong("user manager", Level::Bad, format!("{path} does not answer"), next)
    }
}
