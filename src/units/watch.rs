//! The units' changes as they happen.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use zbus::{MatchRule, MessageStream};

use super::UserManager;
use super::names::unit_of_path;

/// How long to wait before the bus is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What about the units changed; what it is must be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitChanges {
    /// Listening has begun, or begun again after the manager was away: any unit may have changed.
    Any,
    /// These units.
    Units(BTreeSet<String>),
}

/// The units that changed and were not asked for yet. However often one changes, it stands there once.
#[derive(Debug, Default)]
struct Changed {
    units: Mutex<Option<UnitChanges>>,
    bell: Notify,
}

impl Changed {
    fn add(&self, unit: Option<String>) {
        let mut held = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        match (held.as_mut(), unit) {
            (Some(UnitChanges::Any), _) => {}
            (_, None) => *held = Some(UnitChanges::Any),
            (Some(UnitChanges::Units(units)), Some(unit)) => {
                units.insert(unit);
            }
            (None, Some(unit)) => *held = Some(UnitChanges::Units(BTreeSet::from([unit]))),
        }
        drop(held);
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
    /// Every change of a service unit. After the manager was away it goes on by itself.
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
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path_namespace("/org/freedesktop/systemd1/unit")
            .arg(0, "org.freedesktop.systemd1.Service")
            .build();
        let Ok(rule) = rule else { return };
        let queue = NonZero::new(256);
        let Ok(mut signals) = MessageStream::for_match_rule(rule, &connection, queue).await else { return };
        changed.add(None);
        while let Some(Ok(message)) = signals.next().await {
            if let Some(unit) = message.header().path().and_then(|path| unit_of_path(path.as_str())) {
                changed.add(Some(unit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_of_a_moment_come_together() {
        let changed = Arc::<Changed>::default();
        let task = AbortOnDropHandle::new(tokio::spawn(async {}));
        let mut watch = UnitWatch { changed: changed.clone(), _task: task };
        for unit in ["a", "b", "a"] {
            changed.add(Some(unit.into()));
        }
        assert_eq!(watch.next().await, UnitChanges::Units(["a".into(), "b".into()].into()));
        for unit in [Some("a".into()), None, Some("b".into())] {
            changed.add(unit);
        }
        assert_eq!(watch.next().await, UnitChanges::Any);
        let waiting = tokio::time::timeout(Duration::from_millis(20), watch.next()).await;
        assert!(waiting.is_err(), "{waiting:?}");
    }
}
