//! The units' changes as they happen.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::select;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use zbus::fdo::PropertiesChanged;

use zbus::{Connection, MatchRule, MessageStream, Variant};

use super::UserManager;
use super::bus::UnitFacts;
use super::names::{checked_container, release_of, unit_of_path};

/// How long to wait before the bus is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What changes have told of a unit. Properties that they did not tell are none: they are as they were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitChange {
    /// `active`, `activating`, `inactive`, `failed`, …
    pub active: Option<String>,
    /// It was not active, be it for a moment.
    pub was_down: bool,
    /// When its state began, in microseconds since 1970.
    pub since: Option<u64>,
    /// How often systemd has started it again by itself.
    pub restarts: Option<u32>,
}

impl UnitChange {
    /// Whether its program has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.active.as_deref(), Some("inactive" | "failed"))
    }

    /// Takes what a newer one tells.
    fn merge(&mut self, newer: Self) {
        self.active = newer.active.or_else(|| self.active.take());
        self.was_down |= newer.was_down;
        self.since = newer.since.or(self.since);
        self.restarts = newer.restarts.or(self.restarts);
    }

    /// What a signal tells (org.freedesktop.systemd1(5): these are properties that a change is told of with its value).
    fn told(signal: &PropertiesChanged) -> zbus::Result<Self> {
        let args = signal.args()?;
        let mut change = Self::default();
        for (name, value) in args.changed_properties() {
            match (*name, value) {
                ("ActiveState", Variant::Str(active)) => {
                    change.was_down = active.as_str() != "active";
                    change.active = Some(active.to_string());
                }
                ("StateChangeTimestamp", Variant::U64(since)) => change.since = Some(*since),
                ("NRestarts", Variant::U32(restarts)) => change.restarts = Some(*restarts),
                _ => {}
            }
        }
        Ok(change)
    }
}

impl From<UnitFacts> for UnitChange {
    fn from(facts: UnitFacts) -> Self {
        let was_down = facts.active != "active";
        Self { active: Some(facts.active), was_down, since: facts.since, restarts: Some(facts.restarts) }
    }
}

/// What changed about the units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitChanges {
    /// Listening has begun, or begun again after the manager was away: any unit may have changed.
    Any,
    /// These units.
    Units(BTreeMap<String, UnitChange>),
}

/// The units that changed and were not asked for yet. However often one changes, it stands there once.
#[derive(Debug, Default)]
struct Changed {
    units: Mutex<Option<UnitChanges>>,
    bell: Notify,
}

impl Changed {
    fn any(&self) {
        self.set(|held| *held = Some(UnitChanges::Any));
    }

    fn add(&self, unit: String, change: UnitChange) {
        self.set(|held| match held {
            Some(UnitChanges::Any) => {}
            Some(UnitChanges::Units(units)) => units.entry(unit).or_default().merge(change),
            None => *held = Some(UnitChanges::Units(BTreeMap::from([(unit, change)]))),
        });
    }

    fn set(&self, set: impl FnOnce(&mut Option<UnitChanges>)) {
        set(&mut self.units.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_one();
    }
}

/// Whoever listens to the units' changes.
#[derive(Debug)]
pub struct UnitWatch {
    changed: Arc<Changed>,
    _task: AbortOnDropHandle<()>,
}

impl UnitWatch {
    /// Waits for changes, for ever: those of a moment come together.
    pub async fn next(&mut self) -> UnitChanges {
        loop {
            let bell = self.changed.bell.notified();
            let changes = self.changed.units.lock().unwrap_or_else(PoisonError::into_inner).take();
            match changes {
                Some(changes) => return changes,
                None => bell.await,
            }
        }
    }
}

impl UserManager {
    /// Every change of a release's unit, and of one that runs a health check. After the manager was away it goes on by itself.
    #[must_use]
    pub fn watch(&self) -> UnitWatch {
        let changed = Arc::<Changed>::default();
        let (manager, adding) = (self.clone(), changed.clone());
        let task = tokio::spawn(async move {
            loop {
                manager.pump(&adding).await;
                // A connection that has ended is no use to anybody else either.
                manager.forget().await;
                tokio::time::sleep(AGAIN).await;
            }
        });
        UnitWatch { changed, _task: AbortOnDropHandle::new(task) }
    }

    /// Nothing here waits for who listens: a connection whose signals nobody takes answers no calls either.
    async fn pump(&self, changed: &Changed) {
        let Ok(connection) = self.connection().await else { return };
        let states = signals(&connection, "org.freedesktop.systemd1.Unit").await;
        let restarts = signals(&connection, "org.freedesktop.systemd1.Service").await;
        let (Ok(states), Ok(restarts)) = (states, restarts) else { return };
        let states = states.map(|signal| (signal, is_watched as fn(&str) -> bool));
        let restarts = restarts.map(|signal| (signal, is_release as fn(&str) -> bool));
        let mut signals = select(states, restarts);
        changed.any();
        while let Some((Ok(message), wanted)) = signals.next().await {
            let unit = message.header().path().and_then(|path| unit_of_path(path.as_str()));
            // What a signal tells is read where it is wanted alone: each health check makes some ten of them.
            let Some(unit) = unit.filter(|unit| wanted(unit)) else { continue };
            match PropertiesChanged::from_message(message).map(|signal| UnitChange::told(&signal)) {
                Some(Ok(change)) => changed.add(unit, change),
                Some(Err(_)) | None => changed.any(),
            }
        }
    }
}

fn is_release(unit: &str) -> bool {
    release_of(unit).is_some()
}

fn is_watched(unit: &str) -> bool {
    is_release(unit) || checked_container(unit).is_some()
}

/// The signals of changed properties of one of the units' interfaces.
async fn signals(connection: &Connection, interface: &'static str) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .path_namespace("/org/freedesktop/systemd1/unit")
        .arg(0, interface)
        .build()?;
    MessageStream::for_match_rule(rule, connection, NonZero::new(256)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restarted(restarts: u32) -> UnitChange {
        UnitChange { restarts: Some(restarts), ..UnitChange::default() }
    }

    #[tokio::test]
    async fn changes_of_a_moment_come_together() {
        let changed = Arc::<Changed>::default();
        let task = AbortOnDropHandle::new(tokio::spawn(async {}));
        let mut watch = UnitWatch { changed: changed.clone(), _task: task };
        changed.add("a".into(), restarted(1));
        changed.add("b".into(), restarted(1));
        changed.add(
            "a".into(),
            UnitChange { active: Some("failed".into()), was_down: true, since: Some(7), restarts: None },
        );
        changed.add("a".into(), UnitChange { active: Some("active".into()), ..UnitChange::default() });
        changed.add("a".into(), restarted(2));
        let merged = UnitChange { active: Some("active".into()), was_down: true, since: Some(7), restarts: Some(2) };
        let units = BTreeMap::from([("a".to_owned(), merged), ("b".to_owned(), restarted(1))]);
        assert_eq!(watch.next().await, UnitChanges::Units(units));
        changed.add("a".into(), restarted(3));
        changed.any();
        changed.add("b".into(), restarted(3));
        assert_eq!(watch.next().await, UnitChanges::Any);
        let waiting = tokio::time::timeout(Duration::from_millis(20), watch.next()).await;
        assert!(waiting.is_err(), "{waiting:?}");
    }
}
