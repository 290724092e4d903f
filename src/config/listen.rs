//! Where the agent listens.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::names::{AbsPath, BaseUrl, ServiceUrl};

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
