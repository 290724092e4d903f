//! A new release's row: what its image asks for, what the service is set to, and a port of its own.

use std::time::Duration;

use jiff::Timestamp;

use super::DeployError;
use super::known::{has_init, locking_server};
use super::making::Making;
use crate::names::{ContainerPort, Strategy, Volumes};
use crate::podman::ImageFacts;
use crate::services::{ServiceError, spec};
use crate::store::{Cause, NewRelease, Release, Settings};

/// The shortest interval between two runs of a live release's check: each is a process of Podman's.
const LEAST_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time that a run may take, and the shortest that Podman can be given.
const LONGEST_CHECK: Duration = Duration::from_secs(300);
const SHORTEST_CHECK: Duration = Duration::from_secs(1);

/// When a live release's own check is run, and how long a run may take.
#[derive(Debug, PartialEq, Eq)]
struct CheckTimes {
    interval: Duration,
    timeout: Duration,
}

impl CheckTimes {
    /// What the image asks for, within the bounds of what the host bears.
    fn of(interval: Option<Duration>, timeout: Option<Duration>) -> Self {
        let (least, longest) = (LEAST_INTERVAL.as_secs(), LONGEST_CHECK.as_secs());
        if let Some(asked) = interval.filter(|asked| *asked < LEAST_INTERVAL) {
            tracing::info!(
                "the image's health check asks to be run each {asked:?}; once live, it is run each {least} s"
            );
        }
        if let Some(asked) = timeout.filter(|asked| *asked > LONGEST_CHECK) {
            tracing::info!("the image's health check asks for {asked:?} a run; it is ended after {longest} s");
        }
        Self {
            interval: interval.unwrap_or(spec::CHECK_INTERVAL).max(LEAST_INTERVAL),
            timeout: timeout.unwrap_or(spec::CHECK_TIMEOUT).clamp(SHORTEST_CHECK, LONGEST_CHECK),
        }
    }
}

/// Where a program listens, if it is to, and why there.
fn container_port(set: Option<ContainerPort>, image: &ImageFacts) -> (Option<u16>, &'static str) {
    match (set, image.port, image.ports.first()) {
        (Some(set), ..) => (set.number(), "as the setting `container_port` says"),
        (None, Some(port), _) => (Some(port), "the first that its Containerfile EXPOSEs"),
        (None, None, Some(port)) => (Some(*port), "the lowest that its image EXPOSEs"),
        (None, None, None) => {
            (Some(spec::DEFAULT_PORT), "since neither an EXPOSE nor the setting `container_port` says another")
        }
    }
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

impl Making<'_> {
    /// The release's row: what its image asks for, what the service is set to, and a port of its own.
    pub(super) async fn write_down(&self) -> Result<Release, DeployError> {
        let store = &self.uses.store;
        let image = self.uses.podman.image(&self.name.image()).await.map_err(ServiceError::from)?;
        let image = image.ok_or(crate::builds::BuildError::NoImage)?;
        let from = match self.deployment.from_release {
            Some(from) => Some(store.release(self.service.id, from).await?),
            None => None,
        };
        let goes_back = self.deployment.cause == Cause::Rollback;
        // Somebody may set other variables before the release's row names these.
        let _held = self.uses.services.hold_secrets(&self.service.name).await;
        let repository = match &from {
            Some(from) => from.repository.clone(),
            None => store.noted_repository(self.deployment.id).await?,
        };
        let (env, mut settings) = match &from {
            Some(from) if goes_back => (from.env.clone(), from.settings.clone()),
            _ => {
                let settings = self.service.settings.with_repository(repository.as_ref());
                (store.env(&self.service.name).await?, settings)
            }
        };
        // A release's file can be written again to the letter, whatever the configuration says by then.
        settings.health_timeout.get_or_insert_with(|| whole_seconds(self.uses.config.get().services.health_timeout));
        let volumes = match &from {
            // Its volumes, whatever the service's are called by now.
            Some(from) if goes_back => from.volumes.clone(),
            _ => self.volumes(&image, &settings).await?,
        };
        let commit = from.map_or(self.deployment.commit.clone(), |from| from.commit);
        let (container_port, why) = container_port(settings.container_port, &image);
        if let Some(port) = container_port {
            tracing::info!("its program is to listen on port {port}, {why}");
        }
        let server = locking_server(&image);
        settings.strategy.get_or_insert(if server.is_some() { Strategy::Recreate } else { Strategy::Rolling });
        let interval = settings.health_interval.map(|seconds| Duration::from_secs(seconds.into()));
        let interval = interval.or(image.health_interval);
        let check = image.has_healthcheck.then(|| CheckTimes::of(interval, image.health_timeout));
        // Somebody else may take the port between the look and the row.
        for _ in 0..20 {
            let Some(port) = self.uses.services.free_port().await? else { break };
            let release = NewRelease {
                number: self.name.number,
                deployment: self.deployment.id,
                commit: commit.clone(),
                port,
                container_port,
                healthcheck: image.has_healthcheck,
                health_interval: check.as_ref().map(|check| whole_seconds(check.interval)),
                check_timeout: check.as_ref().map(|check| whole_seconds(check.timeout)),
                init: !has_init(&image),
                env: env.clone(),
                volumes: volumes.clone(),
                settings: settings.clone(),
                repository: repository.clone(),
                created: Timestamp::now(),
            };
            if store.create_release(self.service.id, release.clone()).await? {
                return Ok(release);
            }
        }
        let services = self.uses.config.get().services.clone();
        Err(DeployError::NoPort { first: services.first_port, last: services.last_port })
    }

    /// A new release's volumes: those that are set, and one for each path that the image declares and nobody named, so that
    /// its content outlives the container: Quadlet removes anonymous volumes when a unit stops.
    async fn volumes(&self, image: &ImageFacts, settings: &Settings) -> Result<Volumes, DeployError> {
        let mut releases = self.uses.store.releases(self.service.id).await?;
        // The one with the traffic first, then the newest.
        releases
            .sort_by_key(|release| (Some(release.number) != self.service.current, std::cmp::Reverse(release.number)));
        let mut before = Volumes::default();
        releases.iter().for_each(|release| before.add_free(&release.volumes));
        let mut volumes = settings.volumes.clone();
        let declared = image.volumes.clone()?;
        volumes.complete(&declared, &before)?;
        for path in declared.iter().filter(|path| settings.volumes.at(path).is_none()) {
            if let Some(name) = volumes.at(path) {
                tracing::info!("the image declares the volume {path}; it is kept as `{name}`");
            }
        }
        Ok(volumes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_run_as_its_image_asks_within_bounds() {
        let seconds = Duration::from_secs;
        let of = |interval: Option<u64>, timeout: Option<u64>| {
            let times = CheckTimes::of(interval.map(seconds), timeout.map(seconds));
            (times.interval.as_secs(), times.timeout.as_secs())
        };
        assert_eq!(of(None, None), (spec::CHECK_INTERVAL.as_secs(), spec::CHECK_TIMEOUT.as_secs()));
        assert_eq!(of(Some(60), Some(10)), (60, 10));
        assert_eq!(of(Some(1), Some(0)), (5, 1));
        assert_eq!(of(Some(5), Some(3600)), (5, 300));
    }
}
