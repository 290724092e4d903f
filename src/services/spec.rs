//! What a release looks like to systemd and Podman: pure functions from a service's rows.

use std::time::Duration;

use crate::config::Config;
use crate::names::{HostName, ReleaseName, ServiceName};
use crate::store::{Release, Service};
use crate::units::ContainerSpec;

/// The container port of an image that names none.
pub const DEFAULT_PORT: u16 = 8080;

/// What the release's Quadlet file is rendered from.
#[must_use]
pub fn container(service: &Service, release: &Release, config: &Config) -> ContainerSpec {
    ContainerSpec {
        release: ReleaseName::new(&service.name, release.number),
        port: release.port,
        container_port: release.container_port,
        ids: service.ids,
        env: release.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        volumes: release.volumes.clone(),
        healthcheck: release.healthcheck,
        health_timeout: health_timeout(release, config),
        memory_mib: release.settings.memory_mib,
        cpu_percent: release.settings.cpu_percent,
    }
}

/// How long the release may take until it is healthy.
#[must_use]
pub fn health_timeout(release: &Release, config: &Config) -> Duration {
    release.settings.health_timeout.map_or(config.services.health_timeout, |s| Duration::from_secs(s.into()))
}

/// The address that a person opens.
#[must_use]
pub fn url(name: &ServiceName, config: &Config) -> String {
    config.listen.service_url.of(name)
}

/// The address that git pushes to.
#[must_use]
pub fn push_url(name: &ServiceName, config: &Config) -> String {
    format!("{}/git/{name}.git", config.listen.public_url)
}

/// The address that a forge is told.
#[must_use]
pub fn hook_url(name: &ServiceName, config: &Config) -> String {
    format!("{}/hooks/{name}", config.listen.public_url)
}

/// The host names that lead to the service.
#[must_use]
pub fn hosts(service: &Service, config: &Config) -> Vec<HostName> {
    let own = config.listen.service_url.host(&service.name);
    std::iter::once(own).chain(service.settings.domains.iter().cloned()).collect()
}

/// Whether a host name is one that the configuration gives to the agent itself or to a service by its name, so that no
/// service may have it as a domain.
#[must_use]
pub fn is_given(host: &HostName, config: &Config) -> bool {
    let mut own = std::iter::once(&config.listen.public_url).chain(&config.listen.origins);
    // A browser sends the dashboard's cookie to whatever has the dashboard's host, on any port.
    host.as_str() == "localhost" || own.any(|url| url.host() == host.as_str()) || config.listen.service_url.gives(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let name = "blog".parse().unwrap();
        let config = Config::default();
        assert_eq!(url(&name, &config), "http://blog.localhost:8080");
        assert_eq!(push_url(&name, &config), "http://localhost:7070/git/blog.git");
        for (host, given) in
            [("blog.localhost", true), ("localhost", true), ("a.blog.localhost", false), ("blog.example.org", false)]
        {
            assert_eq!(is_given(&host.parse().unwrap(), &config), given, "{host}");
        }
    }
}
