//! How the services are, without a call a service: one listing of all units, and what the units' changes have told before.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use jiff::Timestamp;

use super::figures::Figures;
use super::{ServiceError, Services};
use crate::names::{CommitId, ReleaseName, ReleaseNumber, ServiceName};
use crate::store::{DeploymentState, Desired, Service};
use crate::units::{ActiveState, SubState, UnitListing};

/// What a service does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It was made, and nothing of it was ever deployed.
    NeverDeployed,
    /// Its release is being started, or its first one is being made.
    Starting,
    /// It runs.
    Running,
    /// It ended by itself and systemd starts it again, or has done so again and again until a moment ago.
    Restarting,
    /// It was stopped, by us or with systemctl.
    Stopped,
    /// It is wanted and doesn't run; or it never had a release, and its last deployment has failed.
    Failed,
}

/// How a service is.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// What it does.
    pub condition: Condition,
    /// systemd's own word for it.
    pub sub_state: Option<SubState>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The release with the traffic.
    pub release: Option<ReleaseNumber>,
    /// Its commit.
    pub commit: Option<CommitId>,
    /// How often systemd started it again by itself.
    pub restarts: u32,
    /// How often it did within the last ten minutes, as far as the agent has heard.
    pub recent_restarts: u32,
    /// Whether its health check passes; none where it has none.
    pub health: Option<bool>,
}

impl Services {
    /// How all services are, by name, and what they use.
    ///
    /// # Errors
    /// The store or the units can't be read.
    pub async fn status(&self) -> Result<BTreeMap<ServiceName, (Status, Figures)>, ServiceError> {
        let states = self.states().await?;
        let with_figures = states.into_iter().map(|(name, status)| {
            let figures = status.release.map(|number| self.figures_of(&ReleaseName::new(&name, number)));
            (name, (status, figures.unwrap_or_default()))
        });
        Ok(with_figures.collect())
    }

    /// How all services are, by name.
    ///
    /// # Errors
    /// The store or the units can't be read.
    pub async fn states(&self) -> Result<BTreeMap<ServiceName, Status>, ServiceError> {
        let services = self.uses.store.services().await?;
        let commits = self.uses.store.current_commits().await?;
        let first = self.uses.store.first_deployments().await?;
        let listing = self.uses.units.units(&[ReleaseName::UNITS.to_owned()]).await?;
        self.live.keep(&listing);
        let units: HashMap<&str, &UnitListing> = listing.iter().map(|unit| (unit.name.as_str(), unit)).collect();
        let mut all = BTreeMap::new();
        for service in services.into_iter().filter(|service| !service.desired.is_deleted()) {
            let unit = service.current.map(|number| ReleaseName::new(&service.name, number).unit());
            let listed = unit.as_deref().and_then(|unit| units.get(unit).copied());
            let mut status = self.status_of(&service, listed, first.get(&service.id).copied());
            status.commit = commits.get(&service.id).cloned();
            all.insert(service.name, status);
        }
        Ok(all)
    }

    fn status_of(&self, service: &Service, unit: Option<&UnitListing>, first: Option<DeploymentState>) -> Status {
        let mut status = Status {
            condition: condition(service.desired, unit, first),
            sub_state: unit.map(|unit| unit.sub.clone()),
            since: None,
            release: service.current,
            commit: None,
            restarts: 0,
            recent_restarts: 0,
            health: None,
        };
        let Some(unit) = unit else { return status };
        self.live.with(&unit.name, |memory| {
            status.restarts = memory.restarts;
            let (lately, goes_on_so) = memory.restarted_lately(Instant::now());
            status.recent_restarts = lately;
            if goes_on_so && matches!(status.condition, Condition::Running | Condition::Starting) {
                status.condition = Condition::Restarting;
            }
            status.since = memory.since;
            status.health = memory.health.filter(|_| status.condition == Condition::Running);
        });
        status
    }
}

/// `first` is how far the last deployment is of a service that never had a release.
fn condition(desired: Desired, unit: Option<&UnitListing>, first: Option<DeploymentState>) -> Condition {
    match (desired, unit.map(|unit| (&unit.active, &unit.sub))) {
        (Desired::Created, None) => first.map_or(Condition::NeverDeployed, of_first),
        (_, Some((ActiveState::Activating, SubState::AutoRestart | SubState::AutoRestartQueued))) => {
            Condition::Restarting
        }
        (Desired::Running, Some((ActiveState::Deactivating, _))) => Condition::Restarting,
        (_, Some((ActiveState::Activating, _))) => Condition::Starting,
        (_, Some((ActiveState::Active | ActiveState::Reloading, _))) => Condition::Running,
        (_, Some((ActiveState::Failed, _))) => Condition::Failed,
        (Desired::Created, _) => Condition::NeverDeployed,
        (Desired::Running, None) => first.map_or(Condition::Stopped, of_first),
        (Desired::Stopped, None) if first.is_some_and(|state| !state.is_final()) => Condition::Starting,
        _ => Condition::Stopped,
    }
}

/// How a service is whose first deployment is so far.
fn of_first(state: DeploymentState) -> Condition {
    match state {
        DeploymentState::Failed => Condition::Failed,
        state if state.is_final() => Condition::NeverDeployed,
        _ => Condition::Starting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_never_had_a_release_is_how_its_first_deployment_went() {
        let of = |desired, first| condition(desired, None, first);
        assert_eq!(of(Desired::Created, None), Condition::NeverDeployed);
        assert_eq!(of(Desired::Created, Some(DeploymentState::Building)), Condition::Starting);
        assert_eq!(of(Desired::Created, Some(DeploymentState::Failed)), Condition::Failed);
        assert_eq!(of(Desired::Created, Some(DeploymentState::Cancelled)), Condition::NeverDeployed);
        assert_eq!(of(Desired::Stopped, Some(DeploymentState::Building)), Condition::Starting);
        assert_eq!(of(Desired::Running, Some(DeploymentState::Building)), Condition::Starting);
        assert_eq!(of(Desired::Running, Some(DeploymentState::Failed)), Condition::Failed);
        assert_eq!(of(Desired::Running, Some(DeploymentState::Cancelled)), Condition::NeverDeployed);
        // Somebody stopped it, and one with a release whose unit systemd doesn't know was stopped, too.
        assert_eq!(of(Desired::Stopped, Some(DeploymentState::Failed)), Condition::Stopped);
        assert_eq!(of(Desired::Running, None), Condition::Stopped);
    }
}
