//! The units' changes as they come: what they tell is remembered, and who waits for it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Services;
use crate::events::Event;
use crate::journal::Checked;
use crate::names::{ReleaseName, checked_container};
use crate::problem::chain;
use crate::units::{ActiveState, UnitChange, UnitChanges, UnitsError};

/// How long until the manager is asked again, where it did not answer.
const PAUSE: Duration = Duration::from_secs(2);

impl Services {
    /// Listens to the units' changes for ever: remembers restarts and times, and rings for each service.
    pub async fn watch_units(&self) {
        let mut watch = self.uses.units.watch();
        loop {
            match watch.next().await {
                UnitChanges::Units(units) => self.take_changes(units, true),
                UnitChanges::Any => {
                    self.take_changes(self.all_units().await, false);
                    self.unasked.all();
                }
            }
        }
    }

    /// Takes what changed about these units; `asks`: and has the health asked of each that runs by now and may have another.
    pub(super) fn take_changes(&self, units: BTreeMap<String, UnitChange>, asks: bool) {
        for (unit, change) in units {
            if let Some(release) = ReleaseName::of_unit(&unit) {
                let is_unknown = self.live.with(&unit, |memory| {
                    memory.take(&change);
                    memory.health.is_none()
                });
                // It may have waited for its check, which a deployment ran and which has said so before this.
                if asks && is_unknown && change.active == Some(ActiveState::Active) {
                    self.unasked.add(release.clone(), None);
                }
                self.uses.events.publish(Event::Service(release.service));
            } else if let Some(release) = ReleaseName::of_check(&unit) {
                self.tell_check(Checked::Named(release.container()));
            } else if let Some(container) = checked_container(&unit) {
                self.tell_check(Checked::Container(container));
            }
        }
    }

    /// Nobody listens while no service has a health check.
    fn tell_check(&self, checked: Checked) {
        let _ = self.checks.send(checked);
    }

    /// How all units of services are, as soon as the manager tells.
    async fn all_units(&self) -> BTreeMap<String, UnitChange> {
        loop {
            match self.facts().await {
                Ok(units) => return units,
                Err(error) => tracing::warn!("can't see how the units are: {}", chain(&error)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn facts(&self) -> Result<BTreeMap<String, UnitChange>, UnitsError> {
        let mut units = BTreeMap::new();
        for unit in self.uses.units.units(&[ReleaseName::UNITS.to_owned()]).await? {
            if let Some(facts) = self.uses.units.unit(&unit.name).await? {
                units.insert(unit.name, facts.into());
            }
        }
        Ok(units)
    }
}
