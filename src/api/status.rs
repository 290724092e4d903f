//! How services are, and what they use.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::listed;
use crate::names::{CommitId, ReleaseNumber};
use crate::services::figures::Figures as HostFigures;
use crate::services::status::{self as host, Status as HostStatus};
use crate::words::words;

/// How a service is.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
pub struct Status {
    /// How it is.
    #[serde(flatten)]
    pub state: State,
    /// What it uses.
    #[serde(flatten)]
    pub figures: Figures,
}

/// How a service is, without what it uses.
#[derive(Debug, Clone, Deserialize, Serialize, PartialEq, JsonSchema)]
pub struct State {
    /// What it does.
    pub state: Condition,
    /// systemd's own word for it.
    pub sub_state: Option<String>,
    /// Since when.
    #[schemars(with = "Option<super::fields::Moment>")]
    pub since: Option<Timestamp>,
    /// The release with the traffic.
    pub release: Option<ReleaseNumber>,
    /// Its commit.
    pub commit: Option<CommitId>,
    /// How often systemd started it again by itself.
    pub restarts: u32,
    /// How often it did within the last ten minutes.
    #[serde(default)]
    pub recent_restarts: u32,
    /// What its health check says; null where it has none.
    pub health: Option<Health>,
}

/// What a service uses; null is what the host doesn't count.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
pub struct Figures {
    /// CPU time since the last question, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Memory in use.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes that the container received over its own network interface. Requests through the proxy are not among them.
    pub received_bytes: Option<u64>,
    /// Bytes that it sent.
    pub sent_bytes: Option<u64>,
}

words! {
    /// What a service does at the moment.
    Condition {
        /// It was made, and nothing of it was ever deployed.
        NeverDeployed = "never-deployed",
        /// Its release is being started, or its first one is being made.
        Starting = "starting",
        /// It runs.
        Running = "running",
        /// It ended by itself, and is started again, or was again and again until a moment ago.
        Restarting = "restarting",
        /// It was stopped.
        Stopped = "stopped",
        /// It is wanted and doesn't run; or it never was live, and its last deployment has failed.
        Failed = "failed",
    }
}

words! {
    /// What a health check says.
    Health {
        /// It passes.
        Healthy = "healthy",
        /// It does not.
        Unhealthy = "unhealthy",
    }
}

listed! { Condition, Health, }

impl From<host::Condition> for Condition {
    fn from(condition: host::Condition) -> Self {
        match condition {
            host::Condition::NeverDeployed => Self::NeverDeployed,
            host::Condition::Starting => Self::Starting,
            host::Condition::Running => Self::Running,
            host::Condition::Restarting => Self::Restarting,
            host::Condition::Stopped => Self::Stopped,
            host::Condition::Failed => Self::Failed,
        }
    }
}

impl From<(HostStatus, HostFigures)> for Status {
    fn from((status, figures): (HostStatus, HostFigures)) -> Self {
        Self { state: status.into(), figures: figures.into() }
    }
}

impl From<HostStatus> for State {
    fn from(status: HostStatus) -> Self {
        Self {
            state: status.condition.into(),
            sub_state: status.sub_state.map(|state| state.to_string()),
            since: status.since,
            release: status.release,
            commit: status.commit,
            restarts: status.restarts,
            recent_restarts: status.recent_restarts,
            health: status.health.map(|healthy| if healthy { Health::Healthy } else { Health::Unhealthy }),
        }
    }
}

impl From<HostFigures> for Figures {
    fn from(figures: HostFigures) -> Self {
        Self {
            cpu_percent: figures.cpu_percent.map(|percent| (percent * 10.0).round() / 10.0),
            memory_bytes: figures.memory_bytes,
            pids: figures.pids,
            received_bytes: figures.traffic.map(|traffic| traffic.received),
            sent_bytes: figures.traffic.map(|traffic| traffic.sent),
        }
    }
}
