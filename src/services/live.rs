//! What is remembered of the releases' units between two looks.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use crate::units::{UnitChange, UnitListing};

/// What is remembered of one.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// How often systemd started it again by itself.
    pub(super) restarts: u32,
    /// Since when it is as it is.
    pub(super) since: Option<Timestamp>,
    /// What its container's health check said last.
    pub(super) health: Option<bool>,
    /// The cgroup's CPU time in microseconds, and when it was read.
    pub(super) cpu: Option<(u64, Instant)>,
}

impl Memory {
    /// Takes what a change has told.
    pub(super) fn take(&mut self, change: &UnitChange) {
        self.restarts = change.restarts.unwrap_or(self.restarts);
        let since = change.since.and_then(|us| Timestamp::from_microsecond(i64::try_from(us).ok()?).ok());
        self.since = since.or(self.since);
        if change.was_down {
            self.health = None;
        }
    }
}

/// What is remembered, by unit. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveUnits {
    units: Arc<Mutex<HashMap<String, Memory>>>,
}

impl LiveUnits {
    /// Does `f` with what is remembered of `unit`.
    pub(super) fn with<T>(&self, unit: &str, f: impl FnOnce(&mut Memory) -> T) -> T {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        f(units.entry(unit.to_owned()).or_default())
    }

    /// Forgets the units that aren't in `known`, so that the table stays as large as the host.
    pub(super) fn keep(&self, known: &[UnitListing]) {
        let names: HashSet<&str> = known.iter().map(|unit| unit.name.as_str()).collect();
        self.units.lock().unwrap_or_else(PoisonError::into_inner).retain(|unit, _| names.contains(unit.as_str()));
    }
}
