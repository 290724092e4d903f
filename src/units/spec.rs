//! What a release's files are rendered from.

use std::time::Duration;

use crate::names::{AbsPath, EnvKey, EnvValue, IdRange, ReleaseName, StopSignal, Volumes};

/// How a release's health check is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// How long to wait between two runs of it.
    pub interval: Duration,
    /// How long one run of it may take.
    pub timeout: Duration,
    /// This program, which ends what goes beyond its bounds.
    pub program: AbsPath,
    /// The Podman that runs it.
    pub podman: AbsPath,
}

/// What a release's file is rendered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// The release; it names unit and container.
    pub release: ReleaseName,
    /// The port on [`super::RELEASE_ADDRESS`].
    pub port: u16,
    /// The port in the container, which it also finds in `PORT`; none: nothing leads into it.
    pub container_port: Option<u16>,
    /// Whether Podman's init is its first process.
    pub init: bool,
    /// Its ids in the user namespace.
    pub ids: IdRange,
    /// Its variables.
    pub env: Vec<(EnvKey, EnvValue)>,
    /// Its volumes and where they are mounted.
    pub volumes: Volumes,
    /// The image's health check, which then decides when the unit is started.
    pub check: Option<CheckSpec>,
    /// How long it may take until it is healthy.
    pub health_timeout: Duration,
    /// Memory limit in MiB.
    pub memory_mib: Option<u64>,
    /// CPU limit in percent of one core.
    pub cpu_percent: Option<u32>,
    /// How long it may take to stop; else Podman's own time.
    pub stop_timeout: Option<Duration>,
    /// The signal that asks it to; else its image's.
    pub stop_signal: Option<StopSignal>,
}
