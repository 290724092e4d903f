//! A build as a transient unit, `build-ID.service` in `build-ID.slice` of the service user's manager.
//!
//! All that a build runs is in the one unit, and is killed together: if a step's shell alone were asked to stop, it might
//! go on, or what it has half built be taken for whole.

use std::num::NonZero;
use std::time::Duration;

use futures_util::StreamExt;
use nix::sys::signal::Signal;
use tokio::time::timeout;
use zbus::{MatchRule, MessageStream, OwnedVariant, Variant};

use super::bus::UnitFacts;
use super::paths::path_of_unit;
use super::states::{ActiveState, LoadState, ServiceResult, SubState};
use super::{Argv, UnitsError, UserManager};
use crate::names::{DeploymentId, ReleaseName};

/// How long the end of a build may take.
const END: Duration = Duration::from_secs(15);
/// How many processes and threads a build may have.
const TASKS: u64 = 4096;

/// What a build's unit is made of.
#[derive(Debug, Clone)]
pub struct BuildUnit {
    /// The deployment; it names the unit.
    pub deployment: DeploymentId,
    /// The release that it makes the image of; `systemctl status` tells it.
    pub release: ReleaseName,
    /// What it runs.
    pub argv: Argv,
    /// How long it may take.
    pub timeout: Duration,
    /// How much memory all of it may use, in MiB.
    pub memory_mib: u64,
}

/// How a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildOutcome {
    /// It goes on.
    Running,
    /// It made its image.
    Succeeded,
    /// It ended with this status.
    Failed {
        /// The exit status.
        status: i32,
    },
    /// It took too long.
    TimedOut,
}

pub(super) fn owned(value: Variant<'_>) -> zbus::Result<OwnedVariant> {
    OwnedVariant::try_from(value)
}

impl BuildUnit {
    fn properties(&self) -> zbus::Result<Vec<(String, OwnedVariant)>> {
        let id = self.deployment;
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let description = format!("Build of {} release {}", self.release.service, self.release.number);
        let property = |name: &str, value: Variant<'_>| Ok((name.to_owned(), owned(value)?));
        [
            property("Description", Variant::from(description)),
            property("Type", Variant::from("exec")),
            // So the result is kept until the agent has read it, also one that was away when the build ended.
            property("RemainAfterExit", Variant::from(true)),
            property("Slice", Variant::from(id.build_slice())),
            property("RuntimeMaxUSec", Variant::from(micros(self.timeout))),
            property("TimeoutStopUSec", Variant::from(micros(Duration::from_secs(3)))),
            property("KillSignal", Variant::from(Signal::SIGKILL as i32)),
            property("CPUWeight", Variant::from(20_u64)),
            property("IOWeight", Variant::from(20_u64)),
            property("OOMScoreAdjust", Variant::from(500_i32)),
            // The step that took too much fails and says so, not the whole unit.
            property("OOMPolicy", Variant::from("continue")),
            property("SyslogIdentifier", Variant::from(id.build())),
            property("ExecStart", Variant::from(vec![self.argv.exec(false)])),
        ]
        .into_iter()
        .collect()
    }
}

fn outcome(facts: &UnitFacts) -> BuildOutcome {
    match (&facts.active, &facts.sub, &facts.result) {
        (ActiveState::Active, SubState::Exited, ServiceResult::Success) => BuildOutcome::Succeeded,
        (ActiveState::Failed | ActiveState::Inactive, _, ServiceResult::Timeout) => BuildOutcome::TimedOut,
        (ActiveState::Failed | ActiveState::Inactive, _, _) => BuildOutcome::Failed { status: facts.exit_status },
        _ => BuildOutcome::Running,
    }
}

impl UserManager {
    /// Starts a build and returns once its program runs.
    pub async fn start_build(&self, build: &BuildUnit) -> Result<(), UnitsError> {
        let id = build.deployment;
        let bytes = build.memory_mib.saturating_mul(1024 * 1024);
        self.job("StartTransientUnit", &id.build_unit(), END, |manager| async move {
            let limit = |name: &str, value: u64| Ok((name.to_owned(), owned(Variant::from(value))?));
            let limits: zbus::Result<Vec<_>> =
                [limit("MemoryMax", bytes), limit("MemorySwapMax", bytes), limit("TasksMax", TASKS)]
                    .into_iter()
                    .collect();
            let slices = vec![(id.build_slice(), limits?)];
            manager.start_transient_unit(id.build_unit(), "fail".into(), build.properties()?, slices).await
        })
        .await?;
        Ok(())
    }

    /// How the build stands; none: there is no such unit.
    pub async fn build_result(&self, id: DeploymentId) -> Result<Option<BuildOutcome>, UnitsError> {
        Ok(self
            .unit(&id.build_unit())
            .await?
            .filter(|facts| facts.load != LoadState::NotFound)
            .map(|facts| outcome(&facts)))
    }

    /// Waits for the end of the build; none: its unit vanished, as it does when the manager is restarted.
    pub async fn wait_build(&self, id: DeploymentId) -> Result<Option<BuildOutcome>, UnitsError> {
        // A signal that was missed delays the news by this much.
        let look = self.waits().build;
        loop {
            // Listening begins before the look, so that no end falls between the two.
            let connection = self.connection().await;
            let mut signals = match &connection {
                Ok(connection) => {
                    let rule = MatchRule::builder()
                        .msg_type(zbus::message::Type::Signal)
                        .interface("org.freedesktop.DBus.Properties")
                        .path(path_of_unit(&id.build_unit()))
                        .build();
                    match rule {
                        Ok(rule) => MessageStream::for_match_rule(rule, connection, NonZero::new(64)).await.ok(),
                        Err(_) => None,
                    }
                }
                Err(_) => None,
            };
            loop {
                match self.build_result(id).await {
                    Ok(Some(BuildOutcome::Running)) => {}
                    // The manager is restarting: the next look tells.
                    Err(UnitsError::Unavailable(_)) => {
                        tokio::time::sleep(look).await;
                        break;
                    }
                    other => return other,
                }
                match &mut signals {
                    Some(signals) => {
                        if let Ok(None | Some(Err(_))) = timeout(look, signals.next()).await {
                            break;
                        }
                    }
                    None => {
                        tokio::time::sleep(look).await;
                        break;
                    }
                }
            }
        }
    }

    /// Ends the build at once. Nothing of it runs on afterwards.
    pub async fn cancel_build(&self, id: DeploymentId) -> Result<(), UnitsError> {
        self.clear_build(id).await
    }

    /// Lets the manager forget the ended build.
    pub async fn clear_build(&self, id: DeploymentId) -> Result<(), UnitsError> {
        self.stop(&id.build_unit(), END).await?;
        self.stop(&id.build_slice(), END).await?;
        self.reset_failed(&id.build_unit()).await
    }

    /// The builds that have a unit, running or ended.
    pub async fn builds(&self) -> Result<Vec<DeploymentId>, UnitsError> {
        let units = self.units(&[DeploymentId::BUILD_UNITS.to_owned()]).await?;
        Ok(units.iter().filter_map(|unit| DeploymentId::of_build_unit(&unit.name)).collect())
    }
}
