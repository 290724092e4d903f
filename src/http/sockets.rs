//! The listening sockets: those that systemd hands over (sd_listen_fds(3)), or our own where it hands over none.

use std::io;
use std::os::unix::fs::PermissionsExt;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use crate::config::Listen;

/// Where requests come from.
#[derive(Debug)]
pub struct Listeners {
    /// Dashboard, REST and git.
    pub web: Vec<TcpListener>,
    /// The command line and git's hooks.
    pub local: Vec<UnixListener>,
}

impl Listeners {
    /// Takes over what systemd holds, or listens as the configuration says.
    pub fn open(config: &Listen) -> io::Result<Self> {
        let mut handed = ListenFd::from_env();
        let mut listeners = Self { web: Vec::new(), local: Vec::new() };
        for index in 0..handed.len() {
            // Each socket's own kind decides what it is for, whatever its order is.
            if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
                listener.set_nonblocking(true)?;
                listeners.web.push(TcpListener::from_std(listener)?);
            } else if let Some(listener) = handed.take_unix_listener(index)? {
                listener.set_nonblocking(true)?;
                listeners.local.push(UnixListener::from_std(listener)?);
            }
        }
        if handed.len() == 0 {
            let web = std::net::TcpListener::bind(config.web)?;
            web.set_nonblocking(true)?;
            listeners.web.push(TcpListener::from_std(web)?);
            match std::fs::remove_file(&config.local) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let local = UnixListener::bind(&config.local)?;
            std::fs::set_permissions(&config.local, PermissionsExt::from_mode(0o660))?;
            listeners.local.push(local);
        }
        Ok(listeners)
    }
}
