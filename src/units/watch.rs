//! The units' changes as they happen.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use zbus::fdo::PropertiesChanged;
use zbus::message::{Flags, Type};
use zbus::{Connection, MatchRule, MessageStream, ObjectPath, Variant};

use super::bus::UnitFacts;
use super::paths::{path_of_unit, unit_of_path};
use super::states::ActiveState;
use super::{UnitsError, UserManager};
use crate::names::{ReleaseName, checked_container};
use crate::problem::chain;

/// Where the manager is on its bus, and what it and its units are there.
const MANAGER: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What changes have told of a unit. Properties that they did not tell are none: they are as they were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitChange {
    /// How it is.
    pub active: Option<ActiveState>,
    /// It was not active, be it for a moment.
    pub was_down: bool,
    /// When its state began, in microseconds since 1970.
    pub since: Option<u64>,
    /// How often systemd has started it again by itself.
    pub restarts: Option<u32>,
    /// It is heard of for the first time.
    is_new: bool,
}

impl UnitChange {
    /// Takes what a newer one tells.
    fn merge(&mut self, newer: Self) {
        self.active = newer.active.or_else(|| self.active.take());
        self.was_down |= newer.was_down;
        self.since = newer.since.or(self.since);
        self.restarts = newer.restarts.or(self.restarts);
        self.is_new |= newer.is_new;
    }

    /// What a signal tells (org.freedesktop.systemd1(5): these are properties that a change is told of with its value).
    fn told(signal: &PropertiesChanged) -> zbus::Result<Self> {
        let args = signal.args()?;
        let mut change = Self::default();
        for (name, value) in args.changed_properties() {
            match (*name, value) {
                ("ActiveState", Variant::Str(active)) => {
                    let active = ActiveState::from(active.as_str());
                    change.was_down = active != ActiveState::Active;
                    change.active = Some(active);
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
        let was_down = facts.active != ActiveState::Active;
        Self { active: Some(facts.active), was_down, since: facts.since, restarts: Some(facts.restarts), is_new: false }
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
    manager: UserManager,
    _task: AbortOnDropHandle<()>,
}

impl UnitWatch {
    /// Waits for changes, for ever: those of a moment come together.
    pub async fn next(&mut self) -> UnitChanges {
        loop {
            let bell = self.changed.bell.notified();
            let changes = self.changed.units.lock().unwrap_or_else(PoisonError::into_inner).take();
            match changes {
                Some(UnitChanges::Any) => return UnitChanges::Any,
                Some(UnitChanges::Units(units)) => return self.with_facts(units).await,
                None => bell.await,
            }
        }
    }

    /// Asks the manager for those that it told of for the first time: what happened before their rule stood was not heard.
    async fn with_facts(&self, mut units: BTreeMap<String, UnitChange>) -> UnitChanges {
        for (unit, change) in units.iter_mut().filter(|(_, change)| change.is_new) {
            match self.manager.unit(unit).await {
                Ok(Some(facts)) => change.merge(facts.into()),
                Ok(None) => {}
                Err(_) => return UnitChanges::Any,
            }
            change.is_new = false;
        }
        UnitChanges::Units(units)
    }
}

impl UserManager {
    /// Every change of a release's unit, and every run of a health check. After the manager was away it goes on by itself.
    #[must_use]
    pub fn watch(&self) -> UnitWatch {
        let changed = Arc::<Changed>::default();
        let (manager, adding) = (self.clone(), changed.clone());
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = manager.listen(&adding).await {
                    tracing::debug!("listening to the units ended: {}", chain(&error));
                }
                // A connection that has ended is no use to anybody else either.
                manager.forget().await;
                tokio::time::sleep(manager.waits().bus).await;
            }
        });
        UnitWatch { changed, manager: self.clone(), _task: AbortOnDropHandle::new(task) }
    }

    /// Nothing here waits for who listens: a connection whose signals nobody takes answers no calls either.
    async fn listen(&self, changed: &Changed) -> Result<(), UnitsError> {
        let broken = |source| UnitsError::Refused { call: "AddMatch", source: Box::new(source) };
        let connection = self.connection().await?;
        let mut messages = MessageStream::from(&connection);
        let mut listener = Listener { connection, changed, heard: HashSet::new(), reloading: None };
        listener.begin().await.map_err(broken)?;
        // From here on new ones are heard of; those that are there are asked for while their signals are taken.
        let patterns = [ReleaseName::UNITS.to_owned()];
        let mut listing = pin!(self.units(&patterns));
        let mut listed = false;
        loop {
            tokio::select! {
                units = &mut listing, if !listed => {
                    for unit in units? {
                        listener.hear(&unit.name).await.map_err(broken)?;
                    }
                    changed.any();
                    listed = true;
                }
                message = messages.next() => match message {
                    Some(Ok(message)) => listener.take(message).await.map_err(broken)?,
                    Some(Err(error)) => return Err(broken(error)),
                    None => return Ok(()),
                },
            }
        }
    }
}

/// Hears the manager's signals, and of the units those of releases alone, by a rule each: a health check makes some ten
/// changes of a unit of its own, and to read them all would be most of what an idle agent does.
struct Listener<'a> {
    connection: Connection,
    changed: &'a Changed,
    /// The units that there is a rule for.
    heard: HashSet<String>,
    /// While the manager reads its files again, it tells of each unit that it is gone and there again: those that are not
    /// there again yet.
    reloading: Option<HashSet<String>>,
}

impl Listener<'_> {
    async fn begin(&self) -> zbus::Result<()> {
        for member in ["UnitNew", "UnitRemoved", "JobRemoved", "Reloading"] {
            let rule = MatchRule::builder().path(MANAGER).interface(MANAGER_INTERFACE).member(member);
            self.rule("AddMatch", rule).await?;
        }
        Ok(())
    }

    /// A call without an answer, or who waits for it would not take what comes before that.
    async fn rule(&self, call: &'static str, rule: zbus::match_rule::Builder<'_>) -> zbus::Result<()> {
        let rule = rule.msg_type(Type::Signal).sender("org.freedesktop.systemd1").build()?;
        let message = zbus::Message::method_call("/org/freedesktop/DBus", call)
            .destination("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .with_flags(Flags::NO_REPLY_EXPECTED)
            .build(&rule.to_string())?;
        self.connection.send(&message).await
    }

    async fn of_unit(&self, call: &'static str, unit: &str) -> zbus::Result<()> {
        let rule = MatchRule::builder().path(path_of_unit(unit)).interface(PROPERTIES).member("PropertiesChanged");
        self.rule(call, rule).await
    }

    /// Hears a unit from now on, where it is a release's.
    async fn hear(&mut self, unit: &str) -> zbus::Result<bool> {
        let new = ReleaseName::of_unit(unit).is_some() && !self.heard.contains(unit);
        if new {
            self.of_unit("AddMatch", unit).await?;
            self.heard.insert(unit.to_owned());
        }
        Ok(new)
    }

    async fn leave(&mut self, unit: &str) -> zbus::Result<()> {
        if self.heard.remove(unit) {
            self.of_unit("RemoveMatch", unit).await?;
        }
        Ok(())
    }

    /// org.freedesktop.systemd1(5), "Signals".
    async fn take(&mut self, message: zbus::Message) -> zbus::Result<()> {
        let header = message.header();
        let (interface, member) =
            (header.interface().map(|name| name.as_str()), header.member().map(|name| name.as_str()));
        match (interface, member) {
            _ if header.message_type() != Type::Signal => {}
            (Some(PROPERTIES), Some("PropertiesChanged")) => {
                let unit = header.path().and_then(|path| unit_of_path(path.as_str()));
                let Some(unit) = unit.filter(|unit| self.heard.contains(unit)) else { return Ok(()) };
                match PropertiesChanged::from_message(message).map(|signal| UnitChange::told(&signal)) {
                    Some(Ok(change)) => self.changed.add(unit, change),
                    Some(Err(_)) | None => self.changed.any(),
                }
            }
            (Some(MANAGER_INTERFACE), Some("UnitNew")) => {
                let body = message.body();
                let (unit, _): (&str, ObjectPath<'_>) = body.deserialize()?;
                if let Some(gone) = &mut self.reloading {
                    gone.remove(unit);
                }
                if self.hear(unit).await? {
                    // What it was before that is not known.
                    self.changed.add(unit.to_owned(), UnitChange { is_new: true, ..UnitChange::default() });
                }
            }
            (Some(MANAGER_INTERFACE), Some("UnitRemoved")) => {
                let body = message.body();
                let (unit, _): (&str, ObjectPath<'_>) = body.deserialize()?;
                match &mut self.reloading {
                    Some(gone) if self.heard.contains(unit) => drop(gone.insert(unit.to_owned())),
                    Some(_) => {}
                    None => self.leave(unit).await?,
                }
            }
            (Some(MANAGER_INTERFACE), Some("JobRemoved")) => {
                let body = message.body();
                let (_, _, unit, _): (u32, ObjectPath<'_>, &str, &str) = body.deserialize()?;
                if ReleaseName::of_check(unit).is_some() || checked_container(unit).is_some() {
                    self.changed.add(unit.to_owned(), UnitChange::default());
                }
            }
            (Some(MANAGER_INTERFACE), Some("Reloading")) => {
                if message.body().deserialize()? {
                    self.reloading.get_or_insert_default();
                } else {
                    for unit in self.reloading.take().into_iter().flatten() {
                        self.leave(&unit).await?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Waits;
    use crate::names::AbsPath;

    fn restarted(restarts: u32) -> UnitChange {
        UnitChange { restarts: Some(restarts), ..UnitChange::default() }
    }

    #[tokio::test]
    async fn changes_of_a_moment_come_together() {
        let changed = Arc::<Changed>::default();
        let task = AbortOnDropHandle::new(tokio::spawn(async {}));
        let manager = UserManager::new(AbsPath::known("/nowhere"), Waits::default());
        let mut watch = UnitWatch { changed: changed.clone(), manager, _task: task };
        changed.add("a".into(), restarted(1));
        changed.add("b".into(), restarted(1));
        changed.add(
            "a".into(),
            UnitChange { active: Some(ActiveState::Failed), was_down: true, since: Some(7), ..UnitChange::default() },
        );
        changed.add("a".into(), UnitChange { active: Some(ActiveState::Active), ..UnitChange::default() });
        changed.add("a".into(), restarted(2));
        let active = Some(ActiveState::Active);
        let merged = UnitChange { active, was_down: true, since: Some(7), restarts: Some(2), is_new: false };
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
