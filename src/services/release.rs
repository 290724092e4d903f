//! A release on the host: its units' files, and all that goes with it when it goes.

use super::reconcile::STOP_LIMIT;
use super::{ServiceError, Services, spec};
use crate::names::{ReleaseName, ReleaseNumber};
use crate::store::{Service, StoreError};
use crate::units;

impl Services {
    /// Writes the release's Quadlet file, as its row says, to the letter as it was the first time.
    ///
    /// # Errors
    /// The store has no such release or can't be read, or a file can't be written.
    pub async fn write_release(&self, service: &Service, number: ReleaseNumber) -> Result<(), ServiceError> {
        let release = self.uses.store.release(service.id, number).await?;
        let spec = spec::container(service, &release, &self.uses.config.get());
        let (text, check) = (units::quadlet::render(&spec), units::check::render(&spec));
        Ok(self.uses.quadlets.write(&ReleaseName::new(&service.name, number), &text, check.as_ref()).await?)
    }

    /// Removes all of a release: its units' files, its container, its image, then its row.
    ///
    /// # Errors
    /// A part of it can't be removed: what comes behind that stays, too.
    pub async fn discard_release(&self, service: &Service, number: ReleaseNumber) -> Result<(), ServiceError> {
        let release = ReleaseName::new(&service.name, number);
        let is_checked = match self.uses.store.release(service.id, number).await {
            Ok(release) => release.healthcheck,
            // It was numbered, and nothing was written for it yet.
            Err(StoreError::NoRelease(_)) => false,
            Err(error) => return Err(error.into()),
        };
        if is_checked {
            // They end with the release's unit, and only then; whatever became of that, none is to run once its file is gone.
            for unit in [release.check_timer(), release.check_service()] {
                self.uses.units.stop(&unit, STOP_LIMIT).await?;
                // A check that was cut off has failed, for systemd.
                self.uses.units.reset_failed(&unit).await?;
            }
        }
        self.uses.quadlets.remove(&release).await?;
        self.uses.podman.remove_container(&release.container()).await?;
        self.uses.podman.forget_shift(&release).await?;
        self.uses.podman.remove_image(&release.image()).await?;
        // A route that can't be read may lead to it; whatever can be is seen by who looks for a free port.
        let all_read = self.uses.routes.hosts().await.is_ok_and(|hosts| hosts.iter().all(|(_, ports)| ports.is_ok()));
        Ok(self.uses.store.forget_release(service.id, number, !all_read).await?)
    }
}
