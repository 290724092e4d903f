//! A new release's unit: started, and waited for until it is healthy.

use std::time::Duration;

use tokio::time::sleep;

use super::DeployError;
use super::health::{self, Expect};
use super::making::Making;
use crate::podman::{CheckRun, Health};
use crate::problem::chain;
use crate::queue::Backoff;
use crate::services::{ServiceError, spec};
use crate::store::{DeploymentState, Release, StoreError};
use crate::units::{JobResult, LoadState, ServiceResult};

/// How long a unit may take to start beyond its own time limit.
const START_MARGIN: Duration = Duration::from_secs(30);
/// How soon it is looked whether its container runs, so that a program that is ready at once is found so at once.
const SOON: Duration = Duration::from_millis(50);
/// And how seldom at last, where it does not for long.
const LATE: Duration = Duration::from_secs(2);
/// How long a run of its own health check is waited for. Its unit ends it before that.
const CHECK_LIMIT: Duration = Duration::from_secs(600);
/// How many characters are told of what a health check has printed last.
const PRINTED: usize = 300;
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
        let units = &self.uses.units;
        units.reload().await.map_err(ServiceError::from)?;
        let unit = self.name.unit();
        if units.unit(&unit).await.map_err(ServiceError::from)?.is_some_and(|facts| facts.load == LoadState::NotFound) {
            return Err(DeployError::Start("systemd's generator refused the release's file".into()));
        }
        let limit = spec::health_timeout(&release, &self.uses.config.get()) + START_MARGIN;
        let mut last_check = None;
        let result = tokio::select! {
            result = units.start(&unit, limit) => result.map_err(ServiceError::from)?,
            never = self.keep_checking(&mut last_check), if release.healthcheck => match never {},
        };
        if result != JobResult::Done {
            return Err(self.why_not_started(&unit, &release, last_check.as_ref()).await);
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

    async fn why_not_started(&self, unit: &str, release: &Release, last: Option<&CheckRun>) -> DeployError {
        let facts = self.uses.units.unit(unit).await.ok().flatten().unwrap_or_default();
        if facts.result == ServiceResult::Timeout || (release.healthcheck && facts.exit_status == 0) {
            let seconds = spec::health_timeout(release, &self.uses.config.get()).as_secs();
            let said = last.map_or_else(|| "; no run of it has ended".into(), said_last);
            return DeployError::CheckFails(format!("its health check did not pass within {seconds} s{said}"));
        }
        DeployError::Start(format!("the program ended with status {} before it was ready", facts.exit_status))
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
            Some(path) => Some(Expect::Path(path.as_str())),
            None if release.settings.tcp => Some(Expect::Tcp),
            // The image's own check has passed, or its unit would not have started.
            None if release.healthcheck => None,
            None => Some(Expect::Http),
        };
        if let Some(expect) = expect {
            let unit = self.name.unit();
            // The unit forgets it when it starts again.
            let mut status = 0;
            let why = tokio::select! {
                answered = health::wait(release.port, &host, expect, limit) => answered.err(),
                () = self.crashes(&unit, CRASHES, &mut status) => Some(String::new()),
            };
            if let Some(why) = why {
                let facts = self.uses.units.unit(&unit).await.ok().flatten().unwrap_or_default();
                return Err(if facts.restarts > 0 {
                    DeployError::Start(format!("the program ends again and again, the last time with status {status}"))
                } else {
                    let (port, seconds) = (release.container_port, limit.as_secs());
                    DeployError::Unhealthy(format!("on port {port} of the container: {why}, for {seconds} s"))
                });
            }
        }
        if release.healthcheck {
            let container = self.uses.podman.container(&self.name.container()).await.map_err(ServiceError::from)?;
            if let Some(container) = container.filter(|container| container.health == Some(Health::Unhealthy)) {
                let said = container.last_check.as_ref().map_or_else(String::new, said_last);
                return Err(DeployError::CheckFails(format!("its health check does not pass{said}")));
            }
        }
        Ok(())
    }

    /// Returns when the unit has ended by itself `times` times; `status` is what it last ended with.
    async fn crashes(&self, unit: &str, times: u32, status: &mut i32) {
        loop {
            sleep(self.uses.config.get().waits.crash).await;
            let Ok(Some(facts)) = self.uses.units.unit(unit).await else { continue };
            if facts.exit_status != 0 {
                *status = facts.exit_status;
            }
            if facts.restarts >= times {
                return;
            }
        }
    }
}

/// How the last run of a health check ended, and the last that it printed.
fn said_last(run: &CheckRun) -> String {
    let took = run.took.map_or_else(String::new, |took| format!(" after {:.1} s", took.as_secs_f64()));
    let printed = run.output.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let printed = printed.map_or_else(
        || " and had printed nothing".into(),
        |line| format!(": {}", line.chars().take(PRINTED).collect::<String>()),
    );
    format!("; its last run ended with status {}{took}{printed}", run.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_does_not_pass_is_told_with_what_it_came_to() {
        let run = |output: &str| CheckRun { status: 7, took: Some(Duration::from_millis(1250)), output: output.into() };
        assert_eq!(
            said_last(&run("a\nno database\n \n")),
            "; its last run ended with status 7 after 1.2 s: no database"
        );
        assert_eq!(
            said_last(&CheckRun { took: None, ..run("") }),
            "; its last run ended with status 7 and had printed nothing"
        );
        assert_eq!(said_last(&run(&"x".repeat(9999))).len(), said_last(&run("")).len() - 24 + 2 + PRINTED);
    }
}
