//! What is remembered of the releases' units between two looks.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::units::{UnitChange, UnitListing};

/// For how long a restart by itself counts.
const RECENT: Duration = Duration::from_secs(600);
/// How many of them are remembered: systemd waits longer each time, up to a minute.
const MOST: usize = 100;
/// So many of them are no accident.
const LOOP: u32 = 3;
/// A program that has gone on for so long since the last is well again. It is longer than systemd's longest pause.
const WELL: Duration = Duration::from_secs(120);

/// What is remembered of one.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// How often systemd started it again by itself.
    pub(super) restarts: u32,
    /// Whether that was told, be it that there was none.
    is_counted: bool,
    /// When it did so lately, oldest first.
    recent: VecDeque<Instant>,
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
        if let Some(restarts) = change.restarts {
            let more = if self.is_counted { restarts.saturating_sub(self.restarts) } else { 0 };
            self.count(more, Instant::now());
            (self.restarts, self.is_counted) = (restarts, true);
        }
        let since = change.since.and_then(|us| Timestamp::from_microsecond(i64::try_from(us).ok()?).ok());
        self.since = since.or(self.since);
        if change.was_down {
            self.health = None;
        }
    }

    /// It was started again so many times more.
    fn count(&mut self, more: u32, now: Instant) {
        self.recent.extend(std::iter::repeat_n(now, usize::try_from(more).unwrap_or(MOST).min(MOST)));
        let too_many = self.recent.len().saturating_sub(MOST);
        self.recent.drain(..too_many);
    }

    /// How often systemd started it again by itself within ten minutes, and whether it does so again and again.
    pub(super) fn restarted_lately(&self, now: Instant) -> (u32, bool) {
        let age = |at: &Instant| now.saturating_duration_since(*at);
        let lately = self.recent.iter().filter(|at| age(at) < RECENT).count();
        let lately = u32::try_from(lately).unwrap_or(u32::MAX);
        (lately, lately >= LOOP && self.recent.back().is_some_and(|last| age(last) < WELL))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UnitFacts;

    #[test]
    fn what_starts_again_and_again_is_told_from_what_once_did() {
        let told = |restarts| UnitChange::from(UnitFacts { restarts, ..UnitFacts::default() });
        let mut memory = Memory::default();
        // An agent that comes later doesn't know when these were.
        memory.take(&told(50));
        assert_eq!(memory.restarted_lately(Instant::now()), (0, false));
        memory.take(&told(52));
        assert_eq!(memory.restarted_lately(Instant::now()), (2, false));
        memory.take(&told(57));
        let now = Instant::now();
        assert_eq!(memory.restarted_lately(now), (7, true));
        assert_eq!(memory.restarted_lately(now + WELL), (7, false), "it goes on");
        assert_eq!(memory.restarted_lately(now + RECENT), (0, false));
        // Somebody has started it by hand, and systemd counts anew.
        memory.take(&told(1));
        assert_eq!(memory.restarted_lately(Instant::now()).0, 7);
        memory.take(&told(100_000));
        assert!(memory.recent.len() <= MOST);
    }
}
