//! Which release a deployment has stopped so that its own never runs beside it.

use rusqlite::params;

use super::{Store, StoreError};
use crate::names::{DeploymentId, ReleaseNumber};

impl Store {
    /// Writes down which release makes way, before it does. The first one stays: whoever goes on from the row finds it stopped.
    pub async fn note_stopped(&self, id: DeploymentId, release: ReleaseNumber) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE deployments SET stopped_release = ?2 WHERE id = ?1 AND stopped_release IS NULL",
                params![id.0, release.0],
            )?;
            Ok(())
        })
        .await
    }

    /// The release that has made way for this deployment's; none: nothing ran that had to.
    pub async fn stopped_release(&self, id: DeploymentId) -> Result<Option<ReleaseNumber>, StoreError> {
        self.read(move |connection| {
            let query = "SELECT stopped_release FROM deployments WHERE id = ?1";
            let number: Option<u32> = connection.prepare_cached(query)?.query_row([id.0], |row| row.get(0))?;
            Ok(number.map(ReleaseNumber))
        })
        .await
    }
}
