//! What takes the disk, as it was measured.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use tokio::time::Instant;

/// What took the disk when it was measured, in bytes. What could not be measured is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// When it was.
    pub measured: Timestamp,
    /// Images in Podman's storage.
    pub images: Option<Images>,
    /// Volumes there.
    pub volumes: Option<Volumes>,
    /// What is kept from build to build, by service.
    pub caches: Option<BTreeMap<String, u64>>,
    /// All repositories.
    pub repositories: Option<u64>,
    /// The agent's database.
    pub database: Option<u64>,
    /// The journal of the whole host.
    pub journal: Option<u64>,
}

/// Images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// How many.
    pub count: u64,
    /// All of them.
    pub bytes: u64,
    /// How many of them nothing names.
    pub unnamed: u64,
    /// What goes with those.
    pub unnamed_bytes: u64,
}

/// Volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volumes {
    /// How many.
    pub count: u64,
    /// What they hold.
    pub bytes: u64,
}

/// The last measurement, and whether one is under way.
#[derive(Debug, Default)]
pub(super) struct SpaceMeasurement {
    pub(super) under_way: AtomicBool,
    pub(super) last: Mutex<Option<(Instant, Space)>>,
}
