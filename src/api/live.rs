//! What clients send and get over Socket.IO.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::deployments::Deployment;
use super::logs::LogEntry;
#[cfg(doc)]
use super::logs::{LINES, USUAL_LINES};
use super::status::{Figures, State};
use crate::names::{DeploymentId, ServiceName, SessionId, SessionName};

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
    /// How many lines that were there before: none to [`LINES`], and [`USUAL_LINES`] of a service without it.
    pub lines: Option<u64>,
    /// Every line behind this one instead.
    pub cursor: Option<String>,
    /// Only lines that this regular expression finds something in.
    pub grep: Option<String>,
    /// Only lines of this syslog priority or a graver one.
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
#[derive(Debug, Deserialize, Serialize)]
pub struct Snapshot<'a> {
    /// The services by name.
    pub services: Vec<ServiceState<'a>>,
    /// The deployments that have not ended.
    pub deployments: Vec<Cow<'a, Deployment>>,
}

/// How one service is.
#[derive(Debug, Deserialize, Serialize)]
pub struct ServiceState<'a> {
    /// Its name.
    pub name: Cow<'a, ServiceName>,
    /// How it is.
    #[serde(flatten)]
    pub state: Cow<'a, State>,
}

/// A service is gone.
#[derive(Debug, Deserialize, Serialize)]
pub struct Removed<'a> {
    /// Its name.
    pub name: Cow<'a, ServiceName>,
}

/// What the services use.
#[derive(Debug, Deserialize, Serialize)]
pub struct AllFigures<'a> {
    /// By name.
    pub services: BTreeMap<Cow<'a, ServiceName>, Cow<'a, Figures>>,
}

/// Opens a terminal session, and watches it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenTerminal {
    /// In this service's container; without it the isolated shell.
    pub service: Option<ServiceName>,
    /// What it shall be called; no two sessions have one name.
    pub name: Option<SessionName>,
    /// The window's columns: 2 to 1000.
    pub cols: u64,
    /// The window's rows: 1 to 500.
    pub rows: u64,
}

/// Names a session: to watch it, to watch it no more, or to end it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfSession {
    /// The session.
    pub session: SessionId,
}

/// Nothing more is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// What is typed: bytes, or text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalInput {
    /// The session.
    pub session: SessionId,
    /// Bytes, as a binary attachment.
    #[serde(default)]
    pub data: Bytes,
    /// Or text.
    pub text: Option<String>,
}

/// The window has another size.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizeTerminal {
    /// The session.
    pub session: SessionId,
    /// Columns.
    pub cols: u64,
    /// Rows.
    pub rows: u64,
}

/// The client has shown this much output.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalAck {
    /// The session.
    pub session: SessionId,
    /// How many bytes, of all since it began to watch the session.
    pub bytes: u64,
}

/// Output of a session, as its program wrote it.
#[derive(Debug, Serialize)]
pub struct TerminalOutput {
    /// The session.
    pub session: SessionId,
    /// The bytes. A character may go on in the next output.
    pub data: Bytes,
}

/// A session.
#[derive(Debug, Deserialize, Serialize)]
pub struct TerminalSession {
    /// What it is called by.
    pub session: SessionId,
    /// What somebody calls it.
    pub name: Option<SessionName>,
    /// The service in whose container it is; null: the isolated shell.
    pub service: Option<ServiceName>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// When it began.
    pub began: Timestamp,
    /// How many watch it.
    pub viewers: usize,
    /// Whether it is over, and only not cleared away yet.
    pub ending: bool,
}

/// All sessions that the client may watch.
#[derive(Debug, Deserialize, Serialize)]
pub struct TerminalSessions {
    /// In the order in which they began.
    pub sessions: Vec<TerminalSession>,
}
