//! Terminals.

use std::time::Duration;

use serde::Deserialize;

use super::values::{duration, image};
use crate::names::{ImageRef, Network};

/// Terminals: the isolated shell, and shells in services' containers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shell {
    /// The isolated shell's image. None, which is written as an empty text: the one that `paths.shell` is built to.
    #[serde(deserialize_with = "image")]
    pub image: Option<ImageRef>,
    /// Memory limit of an isolated shell, in MiB.
    pub memory_mib: u64,
    /// CPU limit of an isolated shell, in percent of one core.
    pub cpu_percent: u32,
    /// How many processes and threads an isolated shell may have.
    pub tasks: u32,
    /// Networks that an isolated shell reaches beside the internet.
    pub allow: Vec<Network>,
    /// How many sessions at once.
    pub sessions: u32,
    /// How long a session goes on that nobody watches.
    #[serde(deserialize_with = "duration")]
    pub detached: Duration,
    /// How long a session goes on that is watched and silent, without input and output.
    #[serde(deserialize_with = "duration")]
    pub idle: Duration,
    /// How long a program waits for a viewer that takes nothing.
    #[serde(deserialize_with = "duration")]
    pub patience: Duration,
}

impl Default for Shell {
    fn default() -> Self {
        Self {
            image: None,
            memory_mib: 1024,
            cpu_percent: 100,
            tasks: 512,
            allow: Vec::new(),
            sessions: 8,
            detached: Duration::from_secs(15 * 60),
            idle: Duration::from_secs(8 * 3600),
            patience: Duration::from_millis(250),
        }
    }
}
