//! What a release's program listens on. The agent sees no other user's processes, and so a unit beside it looks.

use std::time::Duration;

use super::Services;
use crate::names::ReleaseName;
use crate::podman::Listening;
use crate::problem::chain;
use crate::units::{Argv, JobResult, own_program};

/// How long the look may take.
const LOOK: Duration = Duration::from_secs(10);

impl Services {
    /// What it listens on; none where it does not run, or that can't be seen.
    pub async fn listening(&self, release: &ReleaseName) -> Option<Vec<Listening>> {
        let pid = self.uses.podman.container(&release.container()).await.ok()??.pid?;
        let into = self.uses.config.get().paths.listening(release);
        let _ = tokio::fs::remove_file(&into).await;
        let words = ["listening".to_owned(), format!("--into={}", into.display()), "--".into(), pid.to_string()];
        let argv = Argv::new(&own_program(), words).ok()?;
        match self.uses.units.run_once(&release.listening_unit(), &argv, LOOK).await {
            Ok(JobResult::Done) => {}
            Ok(result) => tracing::debug!("what {release:?} listens on can't be seen: {result:?}"),
            Err(error) => tracing::debug!("what {release:?} listens on can't be seen: {}", chain(&error)),
        }
        let told = tokio::fs::read(&into).await.ok()?;
        let _ = tokio::fs::remove_file(&into).await;
        serde_json::from_slice(&told).ok()
    }
}
