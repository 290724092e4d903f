//! What a release looks like to systemd and Podman: pure functions from a service's rows.

use std::time::Duration;

use crate::config::Config;
use crate::names::{HostName, ReleaseName, ServiceName};
use crate::store::{Release, Service};
use crate::units::{self, CheckSpec, ContainerSpec};

/// The container port of an image that names none.
pub const DEFAULT_PORT: u16 = 8080;

/// How long to wait between two runs of a health check whose image says nothing, as Podman does.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How long one run of it may take, as with Podman.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// What the release's Quadlet file is rendered from.
#[must_use]
pub fn container(service: &Service, release: &Release, config: &Config) -> ContainerSpec {
    ContainerSpec {
        release: ReleaseName::new(&service.name, release.number),
        port: release.port,
        container_port: release.container_port,
        init: release.init,
        ids: service.ids,
        env: release.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        volumes: release.volumes.clone(),
        check: release.healthcheck.then(|| CheckSpec {
            interval: release.health_interval.map_or(CHECK_INTERVAL, |s| Duration::from_secs(s.into())),
            timeout: release.check_timeout.map_or(CHECK_TIMEOUT, |s| Duration::from_secs(s.into())),
            program: units::own_program(),
            podman: config.paths.podman.clone(),
        }),
        health_timeout: health_timeout(release, config),
        memory_mib: release.settings.memory_mib,
        cpu_percent: release.settings.cpu_percent,
        stop_timeout: release.settings.stop_timeout.map(|seconds| Duration::from_secs(seconds.into())),
        stop_signal: release.settings.stop_signal,
    }
}

/// How long the release may take until it is healthy.
#[must_use]
pub fn health_timeout(release: &Release, config: &Config) -> Duration {
    release.settings.health_timeout.map_or(config.services.health_timeout, |s| Duration::from_secs(s.into()))
}

/// The address that a person opens; none where the service has none.
#[must_use]
pub fn url(service: &Service, config: &Config) -> Option<String> {
    service.has_address.then(|| config.listen.service_url.of(&service.name))
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

/// The host names that lead to the service. The agent's own is never one, whatever the configuration was when the service
/// got its name and its domains.
#[must_use]
pub fn hosts(service: &Service, config: &Config) -> Vec<HostName> {
    let own = config.listen.service_url.host(&service.name);
    let all = std::iter::once(own).chain(service.settings.domains.iter().cloned());
    all.filter(|host| !is_agents(host, config)).collect()
}

/// Whether a host name is the agent's own. A browser sends the dashboard's cookie to whatever has its host, on any port,
/// and takes one from there.
#[must_use]
pub fn is_agents(host: &HostName, config: &Config) -> bool {
    let mut own = std::iter::once(&config.listen.public_url).chain(&config.listen.origins);
    host.as_str() == "localhost" || own.any(|url| url.host() == host.as_str())
}

/// Whether a host name is one that the configuration gives to the agent itself or to a service by its name, so that no
/// service may have it as a domain.
#[must_use]
pub fn is_given(host: &HostName, config: &Config) -> bool {
    is_agents(host, config) || config.listen.service_url.gives(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{HookKey, IdRange, ServiceId};
    use crate::store::{Desired, Settings, Source};

    fn service(name: &str, domains: &[&str]) -> Service {
        Service {
            id: ServiceId(1),
            name: name.parse().unwrap(),
            created: jiff::Timestamp::UNIX_EPOCH,
            source: Source::Template("static".parse().unwrap()),
            branch: "main".parse().unwrap(),
            branch_chosen: true,
            hook_key: HookKey::from_random([7; 32]).unwrap(),
            desired: Desired::Running,
            ids: IdRange::of_slot(0),
            current: None,
            has_address: true,
            settings: Settings {
                domains: domains.iter().map(|domain| domain.parse().unwrap()).collect(),
                ..Settings::default()
            },
        }
    }

    #[test]
    fn addresses() {
        let name = "blog".parse().unwrap();
        let config = Config::default();
        let mut blog = service("blog", &[]);
        assert_eq!(url(&blog, &config).as_deref(), Some("http://blog.localhost:8080"));
        blog.has_address = false;
        assert_eq!(url(&blog, &config), None);
        assert_eq!(push_url(&name, &config), "http://localhost:7070/git/blog.git");
        for (host, given) in
            [("blog.localhost", true), ("localhost", true), ("a.blog.localhost", false), ("blog.example.org", false)]
        {
            assert_eq!(is_given(&host.parse().unwrap(), &config), given, "{host}");
        }
    }

    #[test]
    fn no_host_of_a_service_is_the_agents() {
        let mut config = Config::default();
        config.listen.service_url = "https://{name}.example.org".parse().unwrap();
        config.listen.public_url = "https://pods.example.org:8443".parse().unwrap();
        config.listen.origins = vec!["https://other.example".parse().unwrap()];
        for (name, domains, led) in [
            ("blog", &["a.example", "other.example"][..], &["blog.example.org", "a.example"][..]),
            ("pods", &["localhost", "pods.example.org"], &[]),
        ] {
            let hosts: Vec<String> = hosts(&service(name, domains), &config).iter().map(ToString::to_string).collect();
            assert_eq!(hosts, led);
        }
    }
}
