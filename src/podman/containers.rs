//! Containers: how they are, and their removal.

use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;

use super::raw::{Body, segment};
use super::{Podman, PodmanError, Refusal};
use crate::names::ContainerId;

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has not passed yet.
    Starting,
    /// It passes.
    Healthy,
    /// It fails.
    Unhealthy,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its id.
    pub id: ContainerId,
    /// Whether it runs.
    pub running: bool,
    /// Its first process, as the host counts it; none where it does not run.
    pub pid: Option<u32>,
    /// What its health check says; none where it has none.
    pub health: Option<Health>,
    /// The last run of that, where there was one.
    pub last_check: Option<CheckRun>,
}

/// A run of a health check that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRun {
    /// Its exit status.
    pub status: i32,
    /// How long it took.
    pub took: Option<Duration>,
    /// What it printed, which Podman cuts off.
    pub output: String,
}

/// A working container that a build left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalContainer {
    /// Its id.
    pub id: ContainerId,
    /// Its name, such as `hello-working-container`.
    pub name: String,
}

/// What went over a container's network interface. What its published port carries from the host's own loopback, as
/// the proxy's requests are carried, is not counted there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes in.
    pub received: u64,
    /// Bytes out.
    pub sent: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspect {
    id: ContainerId,
    state: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    running: bool,
    #[serde(default)]
    pid: u32,
    #[serde(default, alias = "Healthcheck")]
    health: Option<HealthState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthState {
    #[serde(default)]
    status: String,
    #[serde(default)]
    log: Option<Vec<HealthLog>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthLog {
    #[serde(default)]
    start: String,
    #[serde(default)]
    end: String,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    output: String,
}

impl From<HealthLog> for CheckRun {
    fn from(log: HealthLog) -> Self {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let took = at(&log.start).zip(at(&log.end)).and_then(|(start, end)| end.duration_since(start).try_into().ok());
        Self { status: log.exit_code, took, output: log.output }
    }
}

impl Podman {
    /// How the container `name` is; none where there is no such container.
    pub async fn container(&self, name: &str) -> Result<Option<ContainerFacts>, PodmanError> {
        let what = "inspect the container";
        let path = format!("/libpod/containers/{}/json", segment(name));
        let body = match self.raw(what, Method::GET, &path, Body::None).await {
            Ok(body) => body,
            Err(PodmanError::Refused { why: Refusal::NotFound, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let inspect: Inspect = serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })?;
        let said = inspect.state.health;
        let health = said.as_ref().and_then(|health| match health.status.as_str() {
            "healthy" => Some(Health::Healthy),
            "unhealthy" => Some(Health::Unhealthy),
            "starting" => Some(Health::Starting),
            _ => None,
        });
        let last_check = said.and_then(|health| health.log?.pop()).map(CheckRun::from);
        let pid = Some(inspect.state.pid).filter(|pid| *pid > 0);
        Ok(Some(ContainerFacts { id: inspect.id, running: inspect.state.running, pid, health, last_check }))
    }

    /// All containers that are `named` so, whether they run or not.
    pub async fn containers<T>(&self, named: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, PodmanError> {
        let containers = self.typed.containers();
        let options = podman_api::opts::ContainerListOpts::builder().all(true).build();
        let all = self.read("list the containers", containers.list(&options)).await?;
        let names = all.into_iter().flat_map(|container| container.names.unwrap_or_default());
        Ok(names.filter_map(|name| named(&name)).collect())
    }

    /// What went over the network interfaces of all running containers, by their names.
    pub async fn traffic(&self) -> Result<HashMap<String, Traffic>, PodmanError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Report {
            #[serde(default)]
            stats: Option<Vec<Stats>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Stats {
            name: String,
            #[serde(default)]
            network: Option<HashMap<String, Interface>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Interface {
            rx_bytes: u64,
            tx_bytes: u64,
        }
        let what = "tell what the containers use";
        let body = self.raw(what, Method::GET, "/libpod/containers/stats?stream=false", Body::None).await?;
        let report: Report = serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })?;
        let traffic = |stats: Stats| {
            let mut traffic = Traffic::default();
            for interface in stats.network?.into_values() {
                traffic.received += interface.rx_bytes;
                traffic.sent += interface.tx_bytes;
            }
            Some((stats.name, traffic))
        };
        Ok(report.stats.unwrap_or_default().into_iter().filter_map(traffic).collect())
    }

    /// Removes a container, and ends it where it runs. The volumes that Podman made for it because its image declares
    /// some go with it: nobody would ever find them again. Those that have a name stay.
    pub async fn remove_container(&self, name: &str) -> Result<(), PodmanError> {
        // Podman's own interface calls it `volumes`; `v`, which its description has, is Docker's and does nothing here.
        let path = format!("/libpod/containers/{}?force=true&timeout=5&volumes=true", segment(name));
        self.delete("remove the container", &path).await
    }

    /// The containers in Podman's storage that builds made and Podman itself doesn't know.
    pub async fn external_containers(&self) -> Result<Vec<ExternalContainer>, PodmanError> {
        let what = "list the builds' containers";
        let body = self.raw(what, Method::GET, "/libpod/containers/json?all=true&external=true", Body::None).await?;
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            id: ContainerId,
            #[serde(default)]
            names: Option<Vec<String>>,
            #[serde(default)]
            state: String,
        }
        let listed: Vec<Listed> =
            serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })?;
        let external = listed.into_iter().filter(|container| container.state == "storage");
        Ok(external
            .map(|container| ExternalContainer {
                id: container.id,
                name: container.names.unwrap_or_default().into_iter().next().unwrap_or_default(),
            })
            .collect())
    }
}
