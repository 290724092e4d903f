//! A new release's unit: started, and waited for until it is healthy.

use std::time::Duration;

use tokio::time::sleep;

use super::DeployError;
use super::explain::{Ending, ReleaseFacts};
use super::health::{self, Expect};
use super::making::Making;
use crate::podman::{CheckRun, Health};
use crate::problem::chain;
use crate::queue::Backoff;
use crate::services::{ServiceError, spec};
use crate::store::{DeploymentState, Release, StoreError};
use crate::units::{ActiveState, JobResult, LoadState, ServiceResult, SubState};

/// How long a unit may take to start beyond its own time limit.
const START_MARGIN: Duration = Duration::from_secs(30);
/// How soon it is looked whether its container runs, so that a program that is ready at once is found so at once.
const SOON: Duration = Duration::from_millis(50);
/// And how seldom at last, where it does not for long.
const LATE: Duration = Duration::from_secs(2);
/// How long a run of its own health check is waited for. Its unit ends it before that.
const CHECK_LIMIT: Duration = Duration::from_secs(600);
/// A program that ended so often before it was healthy won't become it.
const CRASHES: u32 = 3;

impl Making<'_> {
    /// Starts the release's unit.
    pub(super) async fn start(&mut self) -> Result<Release, DeployError> {
        if self.deployment.state != DeploymentState::Checking {
            self.step(DeploymentState::Starting, None).await?;
        }
        self.uses.builds.clear(self.deployment.id).await?;
        let release = match self.uses.store.release(self.service.id, self.name.number).await {
            Ok(release) => release,
            Err(StoreError::NoRelease(_)) => self.write_down().await?,
            Err(error) => return Err(error.into()),
        };
        self.uses.services.write_release(self.service, self.name.number).await?;
        self.make_way(&release).await?;
        let units = &self.uses.units;
        units.reload().await.map_err(ServiceError::from)?;
        let unit = self.name.unit();
        if units.unit(&unit).await.map_err(ServiceError::from)?.is_some_and(|facts| facts.load == LoadState::NotFound) {
            return Err(DeployError::Start("systemd's generator refused the release's file"));
        }
        let limit = spec::health_timeout(&release, &self.uses.config.get()) + START_MARGIN;
        let mut last_check = None;
        let result = tokio::select! {
            result = units.start(&unit, limit) => result.map_err(ServiceError::from)?,
            never = self.keep_checking(&mut last_check), if release.healthcheck => match never {},
        };
        if result != JobResult::Done {
            return Err(self.why_not_started(&unit, &release, last_check).await);
        }
        Ok(release)
    }

    /// Runs the release's health check, by the unit that does so when it is live, until systemd takes it for started: the
    /// image's own interval is made for the years after that, and thirty seconds long where it says nothing.
    async fn keep_checking(&self, last: &mut Option<CheckRun>) -> std::convert::Infallible {
        loop {
            // Its container may not be there yet, or not any more; the release's unit tells.
            let mut backoff = Backoff::new(SOON, LATE);
            while !self.is_running(last).await {
                sleep(backoff.next_pause()).await;
            }
            if let Err(error) = self.uses.units.start(&self.name.check_service(), CHECK_LIMIT).await {
                tracing::debug!("{}", chain(&error));
            }
            self.is_running(last).await;
            sleep(self.uses.config.get().waits.check).await;
        }
    }

    /// Whether its container runs. With that goes what Podman knows of its check, which is kept here.
    async fn is_running(&self, last: &mut Option<CheckRun>) -> bool {
        let Ok(Some(container)) = self.uses.podman.container(&self.name.container()).await else { return false };
        if container.last_check.is_some() {
            *last = container.last_check;
        }
        container.running
    }

    async fn why_not_started(&self, unit: &str, release: &Release, last: Option<CheckRun>) -> DeployError {
        let facts = self.uses.units.unit(unit).await.ok().flatten().unwrap_or_default();
        let ending = if facts.result == ServiceResult::Timeout || (release.healthcheck && facts.exit_status == 0) {
            Ending::CheckFails(last)
        } else {
            Ending::Ended { status: facts.exit_status, times: 1 }
        };
        self.not_live(release, ending, facts.result == ServiceResult::OomKill).await
    }

    /// Why the release does not become live, with all that is known of it. What listens is looked at while it still runs.
    async fn not_live(&self, release: &Release, ending: Ending, ran_out_of_memory: bool) -> DeployError {
        let image = self.uses.podman.image(&self.name.image()).await.ok().flatten();
        let mut variables: Vec<String> = release.env.keys().map(ToString::to_string).collect();
        variables.extend(image.iter().flat_map(|image| &image.env).map(|(key, _)| key.clone()));
        variables.extend(release.container_port.map(|_| "PORT".to_owned()));
        let listening = match &ending {
            Ending::NoAnswer(_) => self.uses.services.listening(&self.name).await,
            Ending::Ended { .. } | Ending::CheckFails(_) => None,
        };
        DeployError::NotLive(Box::new(ReleaseFacts {
            service: self.service.name.to_string(),
            ending,
            seconds: spec::health_timeout(release, &self.uses.config.get()).as_secs(),
            container_port: release.container_port,
            listening,
            ran_out_of_memory,
            memory_mib: release.settings.memory_mib,
            variables,
            volumes: release.volumes.iter().map(|(_, path)| path.to_string()).collect(),
            architectures: image.map(|image| (image.architecture, host_architecture().to_owned())),
        }))
    }

    /// Waits until the release is healthy.
    pub(super) async fn check(&mut self, release: &Release) -> Result<(), DeployError> {
        if self.deployment.state != DeploymentState::Checking {
            self.step(DeploymentState::Checking, None).await?;
        }
        let limit = spec::health_timeout(release, &self.uses.config.get());
        let host =
            spec::hosts(self.service, &self.uses.config.get()).first().map(ToString::to_string).unwrap_or_default();
        let expect = match &release.settings.health_path {
            _ if release.container_port.is_none() => None,
            Some(path) => Some(Expect::Path(path.as_str())),
            None if release.settings.tcp => Some(Expect::Tcp),
            // The image's own check has passed, or its unit would not have started.
            None if release.healthcheck => None,
            None => Some(Expect::Http),
        };
        let unit = self.name.unit();
        let mut end = Crash::default();
        // A program that serves nobody proves itself by going on.
        let goes_on = release.container_port.is_none() && !release.healthcheck;
        let crashes = if goes_on { 1 } else { CRASHES };
        let why = tokio::select! {
            () = sleep(self.uses.config.get().waits.goes_on), if goes_on => None,
            answered = health::wait(release.port, &host, expect.unwrap_or(Expect::Tcp), limit), if expect.is_some() => {
                answered.err().map(Ending::NoAnswer)
            }
            () = self.crashes(&unit, crashes, &mut end), if goes_on || expect.is_some() => {
                Some(Ending::Ended { status: 0, times: 0 })
            }
            else => None,
        };
        let why = match why {
            // It may have ended since it was looked at last.
            None if goes_on && !self.goes_on(&unit).await => Some(Ending::Ended { status: 0, times: 0 }),
            why => why,
        };
        if let Some(why) = why {
            let facts = self.uses.units.unit(&unit).await.ok().flatten().unwrap_or_default();
            let why = match facts.restarts.max(end.times) {
                0 => why,
                times => Ending::Ended { status: end.status, times },
            };
            return Err(self.not_live(release, why, end.ran_out_of_memory).await);
        }
        if release.healthcheck {
            let container = self.uses.podman.container(&self.name.container()).await.map_err(ServiceError::from)?;
            if let Some(container) = container.filter(|container| container.health == Some(Health::Unhealthy)) {
                return Err(self.not_live(release, Ending::CheckFails(container.last_check), false).await);
            }
        }
        Ok(())
    }

    /// Whether the unit runs, and has from its start on. What can't be looked at does.
    async fn goes_on(&self, unit: &str) -> bool {
        let looked = self.uses.units.unit(unit).await;
        looked.map_or(true, |unit| unit.is_some_and(|unit| unit.active.runs() && unit.restarts == 0))
    }

    /// Returns when the unit has ended by itself `times` times; `end` is what is known of the last.
    async fn crashes(&self, unit: &str, times: u32, end: &mut Crash) {
        loop {
            sleep(self.uses.config.get().waits.crash).await;
            let Ok(Some(facts)) = self.uses.units.unit(unit).await else { continue };
            // The unit forgets both when it starts again.
            if facts.exit_status != 0 {
                end.status = facts.exit_status;
            }
            end.ran_out_of_memory |= facts.result == ServiceResult::OomKill;
            end.times = facts.restarts;
            let is_over = matches!(facts.sub, SubState::AutoRestart | SubState::AutoRestartQueued)
                || facts.active == ActiveState::Failed;
            if facts.restarts >= times || (times == 1 && is_over) {
                end.times = end.times.max(1);
                return;
            }
        }
    }
}

/// How a program has ended by itself.
#[derive(Debug, Default)]
struct Crash {
    times: u32,
    status: i32,
    ran_out_of_memory: bool,
}

/// The architecture of this host, as images name it (image-spec, "platform").
pub(super) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
