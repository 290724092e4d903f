//! What clients send and get over Socket.IO.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::deployments::Deployment;
use super::logs::LogEntry;
use super::services::{Figures, State};
use crate::names::{DeploymentId, ServiceName};

/// Which lines a log stream carries: a service's or a deployment's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenLog {
    /// The service.
    pub service: Option<ServiceName>,
    /// Only this release of it.
    pub release: Option<u32>,
    /// The deployment: its steps and its build, until it has ended.
    pub deployment: Option<DeploymentId>,
    /// How many lines that were there before: 0 to 10,000, 200 without it.
    pub lines: Option<u64>,
    /// Every line behind this one instead.
    pub cursor: Option<String>,
    /// Only lines that this regular expression finds something in.
    pub grep: Option<String>,
    /// Only lines of this syslog priority (0 to 7) or a graver one.
    pub priority: Option<u64>,
}

/// The client has a channel's messages up to this one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// The channel.
    pub channel: u32,
    /// The message's number.
    pub seq: u64,
}

/// The client wants no more of a channel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// The channel.
    pub channel: u32,
}

/// Lines of a channel.
#[derive(Debug, Serialize)]
pub struct LogData {
    /// The channel.
    pub channel: u32,
    /// The message's number on its channel, from 1 on.
    pub seq: u64,
    /// The lines, oldest first.
    pub entries: Vec<LogEntry>,
}

/// Whether figures are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// Whether they are.
    pub on: bool,
}

/// How everything is that the client may see.
#[derive(Debug, Serialize)]
pub struct Snapshot<'a> {
    /// The services by name.
    pub services: Vec<ServiceState<'a>>,
    /// The deployments that have not ended.
    pub deployments: Vec<&'a Deployment>,
}

/// How one service is.
#[derive(Debug, Serialize)]
pub struct ServiceState<'a> {
    /// Its name.
    pub name: &'a ServiceName,
    /// How it is.
    #[serde(flatten)]
    pub state: &'a State,
}

/// A service is gone.
#[derive(Debug, Serialize)]
pub struct Removed<'a> {
    /// Its name.
    pub name: &'a ServiceName,
}

/// What the services use.
#[derive(Debug, Serialize)]
pub struct AllFigures<'a> {
    /// By name.
    pub services: BTreeMap<&'a ServiceName, &'a Figures>,
}
