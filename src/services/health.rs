//! What health checks say, heard where a unit tells that one was run.

use std::time::Duration;

use futures_util::StreamExt;

use super::Services;
use crate::journal::Checked;
use crate::names::ReleaseName;

/// How long until the journal is tried again, where it could not be read.
const PAUSE: Duration = Duration::from_secs(10);
/// How often it is looked, at most, whether there is a health check now.
const LOOK: Duration = Duration::from_secs(1);

impl Services {
    /// Listens to what health checks say for ever, and rings where one says something else than before.
    pub async fn watch_health(&self) {
        tokio::join!(self.hear_checks(), self.ask_for_health());
    }

    async fn hear_checks(&self) {
        loop {
            self.wait_for_a_health_check().await;
            let mut checks = self.checks.subscribe();
            let (bell, said) = self.uses.journal.health();
            let mut said = std::pin::pin!(said);
            // What was said before, be it hours ago.
            self.unasked.all();
            loop {
                let said = tokio::select! {
                    said = said.next() => said,
                    // What was missed may have been any.
                    checked = checks.recv() => {
                        bell.ring(checked.unwrap_or(Checked::Any));
                        continue;
                    }
                };
                let Some(Ok(said)) = said else { break };
                let Some(release) = ReleaseName::of_container(&said.container) else { continue };
                if self.live.with(&release.unit(), |unit| unit.health) != Some(said.healthy) {
                    self.unasked.add(release, Some(said.healthy));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// While no service has a health check nobody reads the journal, which costs memory.
    async fn wait_for_a_health_check(&self) {
        loop {
            let mut events = self.uses.events.subscribe();
            match self.uses.store.has_health_checks().await {
                Ok(true) => return,
                // That some were missed is one, too.
                Ok(false) => drop(events.recv().await),
                // Whoever asks for health says that the store can't be read.
                Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
