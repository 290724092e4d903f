//! What a release looks like to systemd and Podman: pure functions from a service's rows.

use std::time::Duration;

use crate::config::Config;
use crate::names::{HostName, ReleaseName, ServiceName, VolumeName};
use crate::store::{Release, Service};
use crate::units::ContainerSpec;

/// The container port of an image that names none.
pub const DEFAULT_PORT: u16 = 8080;

/// What the release's Quadlet file is rendered from.
#[must_use]
pub fn container(service: &Service, release: &Release, config: &Config) -> ContainerSpec {
    ContainerSpec {
        release: ReleaseName::new(&service.name, release.number),
        image: release.image.clone(),
        port: release.port,
        container_port: release.container_port,
        ids: service.ids,
        secrets: release.env.iter().map(|(key, secret)| (key.clone(), secret.clone())).collect(),
        volumes: release.volumes.iter().map(|(name, path)| (name.clone(), path.clone())).collect(),
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
    config.listen.service_url.replace("{name}", name.as_str())
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
    let url = url(&service.name, config);
    let own = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let own = own.split(['/', ':']).next().unwrap_or_default().to_ascii_lowercase();
    own.parse().into_iter().chain(service.settings.domains.iter().cloned()).collect()
}

/// Whether a host name is one that the configuration gives to the agent itself or to a service by its name, so that no
/// service may have it as a domain.
#[must_use]
pub fn is_given(host: &HostName, config: &Config) -> bool {
    let host_of = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.split(['/', ':']).next().unwrap_or_default().to_ascii_lowercase()
    };
    let own = std::iter::once(&config.listen.public_url).chain(&config.listen.origins);
    // A browser sends the dashboard's cookie to whatever has the dashboard's host, on any port.
    if host.as_str() == "localhost" || own.into_iter().any(|url| host.as_str() == host_of(url)) {
        return true;
    }
    let pattern = host_of(&config.listen.service_url);
    pattern.split_once("{name}").is_some_and(|(before, after)| {
        let name = host.as_str().strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        // Reserved names, too: whatever the agent itself may answer at one day.
        name.is_some_and(|name| !name.is_empty() && !name.contains('.'))
    })
}

/// A volume for a path that an image declares with VOLUME, named after the path, so that its content outlives the
/// container: Quadlet removes anonymous volumes when a unit stops.
#[must_use]
pub fn volume_for(path: &str) -> Option<VolumeName> {
    let words: Vec<&str> = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut name = words.join("-").to_ascii_lowercase();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "v-");
    }
    name.truncate(40);
    name.trim_end_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_named_after_its_path() {
        for (path, name) in [("/data", "data"), ("/var/lib/My_DB", "var-lib-my-db"), ("/1", "v-1"), ("/", "v")] {
            assert_eq!(volume_for(path).map(|v| v.to_string()).as_deref(), Some(name), "{path}");
        }
        assert!(volume_for(&"/abc".repeat(40)).is_some_and(|name| name.as_str().len() <= 40));
    }

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
