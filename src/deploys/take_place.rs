//! How a release takes another's place that must not run beside it: what runs stops first, and is started again where the
//! new one comes to nothing.

use std::time::Duration;

use tokio::time::sleep;

use super::known::locking_server;
use super::making::Making;
use super::{DeployError, Uses};
use crate::names::ReleaseName;
use crate::problem::chain;
use crate::services::ServiceError;
use crate::store::{Deployment, Desired, Release, StoreError};

/// How long a new release may take to stop.
pub(super) const STOP: Duration = Duration::from_secs(60);
/// How often it is tried to start again what had made way.
const TRIES: u32 = 30;

impl Making<'_> {
    /// Ends what runs of the service, where the release must not run beside it. Which that is becomes a row before.
    pub(super) async fn make_way(&self, release: &Release) -> Result<(), DeployError> {
        let current = match self.service.current {
            Some(current) => match self.uses.store.release(self.service.id, current).await {
                Ok(current) => Some(current),
                Err(StoreError::NoRelease(_)) => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        if !release.runs_alone() && !current.as_ref().is_some_and(Release::runs_alone) {
            return Ok(());
        }
        if let Some(current) = current {
            let unit = ReleaseName::new(&self.service.name, current.number).unit();
            if self.uses.units.unit(&unit).await.map_err(ServiceError::from)?.is_some_and(|unit| unit.active.runs()) {
                self.uses.store.note_stopped(self.deployment.id, current.number).await?;
                tracing::info!(
                    "release {} stops before release {} starts, {}; nobody answers until that is live",
                    current.number,
                    release.number,
                    self.why_alone(release).await
                );
            }
        }
        Ok(self.uses.services.make_way(self.service, release.number).await?)
    }

    async fn why_alone(&self, release: &Release) -> String {
        let image = self.uses.podman.image(&self.name.image()).await.ok().flatten();
        match image.as_ref().and_then(locking_server) {
            Some(server) if self.service.settings.strategy.is_none() && release.runs_alone() => format!(
                "since two of {server} must never have the same data (the setting `strategy` is `recreate` by itself)"
            ),
            _ => "as the setting `strategy` says".into(),
        }
    }
}

/// Starts the release again that a deployment which came to nothing had stopped, once its own has ended. What an
/// administrator had stopped stays so, and so does what somebody has stopped meanwhile.
pub(super) async fn start_again(uses: &Uses, deployment: &Deployment) -> Result<(), DeployError> {
    let Some(stopped) = uses.store.stopped_release(deployment.id).await? else { return Ok(()) };
    let mut tries = TRIES;
    loop {
        let service = uses.store.find_service(&deployment.service).await?;
        if service.desired != Desired::Running || service.current != Some(stopped) {
            return Ok(());
        }
        let started = async {
            if let Some(number) = deployment.release {
                uses.units.end(&ReleaseName::new(&service.name, number).unit(), STOP).await?;
            }
            uses.services.start_again(&service).await
        };
        match started.await {
            Ok(()) => {
                let unit = ReleaseName::new(&service.name, stopped).unit();
                let unit = uses.units.unit(&unit).await.map_err(ServiceError::from)?;
                match unit.is_some_and(|unit| unit.active.runs()) {
                    true => tracing::info!("release {stopped} runs again"),
                    false => tracing::warn!("release {stopped} was started again, and does not run"),
                }
                return Ok(());
            }
            Err(error @ ServiceError::Store(_)) => return Err(error.into()),
            Err(error) if tries > 0 => {
                tries -= 1;
                tracing::debug!("release {stopped} does not run again yet: {}", chain(&error));
                sleep(uses.config.get().waits.absence_look).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
