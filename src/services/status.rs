//! How the services are, without a call a service: one listing of all units, the cgroup files, and what the units'
//! changes have told before.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::{ServiceError, Services};
use crate::config::system;
use crate::events::Event;
use crate::journal::Checked;
use crate::names::{CommitId, ReleaseName, ReleaseNumber, ServiceName, checked_container};
use crate::podman::{Health, Traffic};
use crate::problem::chain;
use crate::store::{Desired, Service, State};
use crate::units::{ActiveState, SubState, UnitChange, UnitChanges, UnitListing, UnitsError};

/// How long until the manager is asked again, where it did not answer.
const UNITS_PAUSE: Duration = Duration::from_secs(2);
/// How long until the journal is tried again, where it could not be read.
const HEALTH_PAUSE: Duration = Duration::from_secs(10);
/// How often it is looked, at most, whether there is a health check now.
const HEALTH_LOOK: Duration = Duration::from_secs(1);

/// How many health checks that were begun wait to be told.
const CHECKS: usize = 64;

/// What a service does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It was made, and nothing of it ever ran.
    Created,
    /// Its release is being started, or its first one is being made.
    Starting,
    /// It runs.
    Running,
    /// It ended by itself and systemd starts it again.
    Restarting,
    /// It was stopped, by us or with systemctl.
    Stopped,
    /// It is wanted and doesn't run; its first release may have come to nothing.
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
    /// Whether its health check passes; none where it has none.
    pub health: Option<bool>,
}

/// What a service uses; a figure that the host doesn't count is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// CPU time since the last look, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// CPU time since the unit began.
    pub cpu_time: Option<Duration>,
    /// Memory in use.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// What went in and out over the container's own network interface, by Podman's count.
    pub traffic: Option<Traffic>,
}

/// What is remembered of a unit between two looks.
#[derive(Debug, Clone, Default)]
struct Memory {
    restarts: u32,
    since: Option<Timestamp>,
    /// What its container's health check said last.
    health: Option<bool>,
    /// The cgroup's CPU time in microseconds, and when it was read.
    cpu: Option<(u64, Instant)>,
}

impl Memory {
    fn take(&mut self, change: &UnitChange) {
        self.restarts = change.restarts.unwrap_or(self.restarts);
        let since = change.since.and_then(|us| Timestamp::from_microsecond(i64::try_from(us).ok()?).ok());
        self.since = since.or(self.since);
        if change.was_down {
            self.health = None;
        }
    }
}

/// What the units' changes have told, by unit.
#[derive(Debug, Clone)]
pub struct LiveUnits {
    units: Arc<Mutex<HashMap<String, Memory>>>,
    /// Whose health check may have said something.
    checked: broadcast::Sender<Checked>,
}

impl Default for LiveUnits {
    fn default() -> Self {
        Self { units: Arc::default(), checked: broadcast::Sender::new(CHECKS) }
    }
}

impl LiveUnits {
    /// Nobody listens while no service has a health check.
    fn tell(&self, checked: Checked) {
        let _ = self.checked.send(checked);
    }

    fn with<T>(&self, unit: &str, f: impl FnOnce(&mut Memory) -> T) -> T {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        f(units.entry(unit.to_owned()).or_default())
    }

    /// Forgets the units that aren't in `known`, so that the table stays as large as the host.
    fn keep(&self, known: &[UnitListing]) {
        let names: std::collections::HashSet<&str> = known.iter().map(|unit| unit.name.as_str()).collect();
        self.units.lock().unwrap_or_else(PoisonError::into_inner).retain(|unit, _| names.contains(unit.as_str()));
    }
}

impl Services {
    /// Listens to the units' changes for ever: remembers restarts and times, and rings for each service.
    pub async fn watch_units(&self) {
        let mut watch = self.uses.units.watch();
        loop {
            let units = match watch.next().await {
                UnitChanges::Units(units) => units,
                UnitChanges::Any => self.all_units().await,
            };
            for (unit, change) in units {
                if let Some(release) = ReleaseName::of_unit(&unit) {
                    self.live.with(&unit, |memory| memory.take(&change));
                    self.uses.events.publish(Event::Service(release.service));
                    // It may have waited for its check, which the agent runs during a deployment.
                    self.live.tell(Checked::Any);
                } else if let Some(release) = ReleaseName::of_check(&unit) {
                    self.live.tell(Checked::Named(release.container()));
                } else if let Some(container) = checked_container(&unit) {
                    self.live.tell(Checked::Container(container));
                }
            }
        }
    }

    /// How all units of services are, as soon as the manager tells.
    async fn all_units(&self) -> BTreeMap<String, UnitChange> {
        loop {
            match self.facts().await {
                Ok(units) => return units,
                Err(error) => tracing::warn!("can't see how the units are: {}", chain(&error)),
            }
            tokio::time::sleep(UNITS_PAUSE).await;
        }
    }

    async fn facts(&self) -> Result<BTreeMap<String, UnitChange>, UnitsError> {
        let mut units = BTreeMap::new();
        for unit in self.uses.units.units(&[ReleaseName::UNITS.to_owned()]).await? {
            if let Some(facts) = self.uses.units.unit(&unit.name).await? {
                units.insert(unit.name, facts.into());
            }
        }
        Ok(units)
    }

    /// Listens to what health checks say for ever, where a unit tells that one was run, and rings where one says something else than before.
    pub async fn watch_health(&self) {
        loop {
            self.wait_for_a_health_check().await;
            let mut checked = self.live.checked.subscribe();
            let (bell, said) = self.uses.journal.health();
            let mut said = std::pin::pin!(said);
            // What was said before, be it hours ago.
            self.ask_health().await;
            loop {
                let said = tokio::select! {
                    said = said.next() => said,
                    checked = checked.recv() => {
                        // What was missed may have been any.
                        let checked = checked.unwrap_or(Checked::Any);
                        bell.ring(checked.clone());
                        if checked == Checked::Any {
                            self.ask_health().await;
                        }
                        continue;
                    }
                };
                let Some(Ok(said)) = said else { break };
                let Some(release) = ReleaseName::of_container(&said.container) else { continue };
                let known = self.live.with(&release.unit(), |unit| unit.health);
                if known != Some(said.healthy) {
                    self.hear_health(&release, Some(said.healthy)).await;
                }
            }
            tokio::time::sleep(HEALTH_PAUSE).await;
        }
    }

    /// Asks what the checks of live releases have said of which nothing is known.
    async fn ask_health(&self) {
        for release in self.uses.store.checked_releases().await.unwrap_or_default() {
            if self.live.with(&release.unit(), |unit| unit.health).is_none() {
                self.hear_health(&release, None).await;
            }
        }
    }

    /// Takes what a release's check says now. What was heard of it, `said`, may be an earlier run's of its unit, or another
    /// service's that had its name, and counts alone where Podman can't be asked.
    async fn hear_health(&self, release: &ReleaseName, said: Option<bool>) {
        let health = match self.uses.podman.container(&release.container()).await {
            Ok(container) => container.and_then(|container| match container.health {
                Some(Health::Healthy) => Some(true),
                Some(Health::Unhealthy) => Some(false),
                Some(Health::Starting) | None => None,
            }),
            Err(_) => said,
        };
        if self.live.with(&release.unit(), |unit| std::mem::replace(&mut unit.health, health)) != health {
            self.uses.events.publish(Event::Service(release.service.clone()));
        }
    }

    /// While no service has a health check nobody reads the journal, which costs memory.
    async fn wait_for_a_health_check(&self) {
        loop {
            let mut events = self.uses.events.subscribe();
            if self.uses.store.has_health_checks().await.unwrap_or(false) {
                return;
            }
            // That some were missed is one, too.
            let _ = events.recv().await;
            tokio::time::sleep(HEALTH_LOOK).await;
        }
    }

    /// How all services are, by name, and what they use.
    pub async fn status(&self) -> Result<BTreeMap<ServiceName, (Status, Figures)>, ServiceError> {
        let states = self.states().await?;
        let with_figures = states.into_iter().map(|(name, status)| {
            let figures = status.release.map(|number| self.figures_of(&ReleaseName::new(&name, number)));
            (name, (status, figures.unwrap_or_default()))
        });
        Ok(with_figures.collect())
    }

    /// What all services use, by name: one sweep over the cgroup files, and one question to Podman.
    pub async fn figures(&self) -> Result<BTreeMap<ServiceName, Figures>, ServiceError> {
        let services = self.uses.store.services().await?.into_iter();
        let current = services.filter_map(|service| Some(ReleaseName::new(&service.name, service.current?)));
        // A Podman that doesn't answer counts nothing.
        let mut traffic = self.uses.podman.traffic().await.unwrap_or_default();
        let figures = |release: ReleaseName| {
            let traffic = traffic.remove(&release.container());
            (release.service.clone(), Figures { traffic, ..self.figures_of(&release) })
        };
        Ok(current.map(figures).collect())
    }

    /// How all services are, by name.
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

    fn status_of(&self, service: &Service, unit: Option<&UnitListing>, first: Option<State>) -> Status {
        let mut status = Status {
            condition: condition(service.desired, unit, first),
            sub_state: unit.map(|unit| unit.sub.clone()),
            since: None,
            release: service.current,
            commit: None,
            restarts: 0,
            health: None,
        };
        let Some(unit) = unit else { return status };
        self.live.with(&unit.name, |memory| {
            status.restarts = memory.restarts;
            status.since = memory.since;
            status.health = memory.health.filter(|_| status.condition == Condition::Running);
        });
        status
    }

    fn figures_of(&self, release: &ReleaseName) -> Figures {
        let unit = release.unit();
        let Some(folder) = self.cgroup(&release.service, &unit) else { return Figures::default() };
        let cpu = cpu_micros(&folder);
        let cpu_percent = cpu.and_then(|cpu| {
            let now = Instant::now();
            let before = self.live.with(&unit, |memory| memory.cpu.replace((cpu, now)));
            let (before, at) = before?;
            let span = now.duration_since(at).as_secs_f64();
            (span > 0.05).then(|| cpu.saturating_sub(before) as f64 / span / 10_000.0)
        });
        Figures {
            cpu_percent,
            cpu_time: cpu.map(Duration::from_micros),
            memory_bytes: number_in(&folder, "memory.current"),
            pids: number_in(&folder, "pids.current"),
            traffic: None,
        }
    }

    /// The cgroup folder of a service's unit. systemd derives the slice from the unit's name.
    fn cgroup(&self, service: &ServiceName, unit: &str) -> Option<PathBuf> {
        let manager = self.uses.units.cgroup()?;
        let app = Path::new(system::CGROUPS).join(manager.trim_start_matches('/')).join("app.slice");
        Some(app.join(service.slice()).join(unit))
    }
}

fn number_in(folder: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// `usage_usec` of the cgroup's cpu.stat (Documentation/admin-guide/cgroup-v2.rst).
fn cpu_micros(folder: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join("cpu.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
}

/// `first` is how far the last deployment is of a service that never had a release.
fn condition(desired: Desired, unit: Option<&UnitListing>, first: Option<State>) -> Condition {
    match (desired, unit.map(|unit| (&unit.active, &unit.sub))) {
        (Desired::Created, None) => first.map_or(Condition::Created, of_first),
        (_, Some((ActiveState::Activating, SubState::AutoRestart | SubState::AutoRestartQueued))) => {
            Condition::Restarting
        }
        (Desired::Running, Some((ActiveState::Deactivating, _))) => Condition::Restarting,
        (_, Some((ActiveState::Activating, _))) => Condition::Starting,
        (_, Some((ActiveState::Active | ActiveState::Reloading, _))) => Condition::Running,
        (_, Some((ActiveState::Failed, _))) => Condition::Failed,
        (Desired::Created, _) => Condition::Created,
        (Desired::Running, None) => first.map_or(Condition::Stopped, of_first),
        (Desired::Stopped, None) if first.is_some_and(|state| !state.is_final()) => Condition::Starting,
        _ => Condition::Stopped,
    }
}

/// How a service is whose first deployment is so far.
fn of_first(state: State) -> Condition {
    match state {
        State::Failed => Condition::Failed,
        state if state.is_final() => Condition::Created,
        _ => Condition::Starting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_never_had_a_release_is_how_its_first_deployment_went() {
        let of = |desired, first| condition(desired, None, first);
        assert_eq!(of(Desired::Created, None), Condition::Created);
        assert_eq!(of(Desired::Created, Some(State::Building)), Condition::Starting);
        assert_eq!(of(Desired::Created, Some(State::Failed)), Condition::Failed);
        assert_eq!(of(Desired::Created, Some(State::Cancelled)), Condition::Created);
        assert_eq!(of(Desired::Stopped, Some(State::Building)), Condition::Starting);
        assert_eq!(of(Desired::Running, Some(State::Building)), Condition::Starting);
        assert_eq!(of(Desired::Running, Some(State::Failed)), Condition::Failed);
        assert_eq!(of(Desired::Running, Some(State::Cancelled)), Condition::Created);
        // Somebody stopped it, and one with a release whose unit systemd doesn't know was stopped, too.
        assert_eq!(of(Desired::Stopped, Some(State::Failed)), Condition::Stopped);
        assert_eq!(of(Desired::Running, None), Condition::Stopped);
    }
}
