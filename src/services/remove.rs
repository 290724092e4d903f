//! Removing a service with all that belongs to it. Each step may be repeated, and the row, which says whether the volumes
//! go, too, goes last, so that a removal that was cut off is ended by maintenance.

use super::reconcile::HostView;
use super::{ServiceError, Services, spec};
use crate::events::Event;
use crate::names::{Actor, HostVolume, ReleaseName, SecretName, ServiceName};
use crate::store::{Desired, Service, StoreError};

/// What a removal took away, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// What is gone, each as a person calls it: `release 3`, `volume blog.data`.
    pub removed: Vec<String>,
    /// What is kept.
    pub kept: Vec<String>,
}

/// What marks the agent's last word of a service: whoever reads it has read what the service printed.
pub(super) fn mark(service: &Service) -> String {
    format!("removed {} {}", service.id, service.created.as_microsecond())
}

impl Services {
    /// Removes a service with everything that belongs to it; its volumes only where `volumes` says so. Where something of it
    /// can't be removed, maintenance goes on, and so does whoever asks again.
    ///
    /// # Errors
    /// There is no such service, nothing can be written, or a part of it can't be removed.
    pub async fn delete(&self, name: &ServiceName, volumes: bool, actor: &Actor) -> Result<Removed, ServiceError> {
        let service = self.uses.queue.end_service(name, Desired::Deleted { volumes }).await?;
        tracing::info!(service = %name, actor = %actor, "removed by request");
        let _turn = self.uses.queue.turn(name).await;
        // Read again: maintenance may have come before, and somebody may want the volumes gone, too, or kept.
        let removed = match self.uses.store.find_service(name).await {
            Ok(now) if now.id == service.id => self.remove(&now).await,
            Ok(_) | Err(StoreError::NoService(_)) => self.left_of(name).await,
            Err(error) => Err(error.into()),
        };
        // The cache of its builds, and whatever a removal that failed has left.
        self.cleanup_flag.set();
        removed
    }

    /// Removes `service`, whose row says that it shall be, and whether with its volumes. Nothing of it may be under way.
    ///
    /// # Errors
    /// A part of it can't be removed: what comes behind that stays, too.
    pub async fn remove(&self, service: &Service) -> Result<Removed, ServiceError> {
        let volumes_go = service.desired == Desired::Deleted { volumes: true };
        let mut report = Removed::default();
        for host in spec::hosts(service, &self.uses.config.get()) {
            self.uses.routes.remove_host(&host).await?;
            report.removed.push(format!("route {host}"));
        }
        let mut wanted_stopped = service.clone();
        wanted_stopped.desired = Desired::Stopped;
        let view = HostView::look(self).await?;
        let releases = self.uses.store.releases(service.id).await?;
        for step in self.pending(&wanted_stopped, &view, false).await? {
            self.take(&wanted_stopped, &step).await?;
        }
        for release in releases {
            self.discard_release(service, release.number).await?;
            report.removed.push(format!("release {}", release.number));
        }
        // What a deployment left that never came to a release.
        for release in self.uses.podman.containers(ReleaseName::of_container).await? {
            if release.service == service.name {
                self.uses.podman.remove_container(&release.container()).await?;
            }
        }
        for release in self.uses.podman.images(&service.name).await? {
            self.uses.podman.remove_image(&release.image()).await?;
        }
        self.uses.units.reload().await?;
        for secret in self.uses.podman.secrets(&SecretName::prefix(&service.name)).await? {
            if *secret.service() == service.name {
                self.uses.podman.remove_secret(&secret).await?;
            }
        }
        report.removed.push("environment".into());
        self.uses.repositories.remove(&service.name).await?;
        report.removed.push("repository".into());
        for volume in self.volumes(&service.name).await? {
            if volumes_go {
                self.uses.podman.remove_volume(&volume).await?;
                report.removed.push(format!("volume {volume}"));
            } else {
                report.kept.push(format!("volume {volume}"));
            }
        }
        self.uses.store.forget_service(service.id).await?;
        self.begins.forget(service.id);
        if report.kept.is_empty() {
            self.uses.store.free_ids(&service.name).await?;
        }
        tracing::info!(service = %service.name, mark = mark(service), "service removed");
        self.uses.events.publish(Event::Removed(service.name.clone()));
        // The tokens of this service went with it.
        self.uses.events.publish(Event::Credentials);
        Ok(report)
    }

    /// What a removal that has ended has kept.
    ///
    /// # Errors
    /// Podman does not answer.
    pub async fn left_of(&self, name: &ServiceName) -> Result<Removed, ServiceError> {
        let kept = self.volumes(name).await?.into_iter().map(|volume| format!("volume {volume}")).collect();
        Ok(Removed { kept, ..Removed::default() })
    }

    /// The volumes that the host has of `service`, or of one that had its name: a service that is made again gets what they
    /// hold.
    ///
    /// # Errors
    /// Podman does not answer.
    pub async fn volumes(&self, service: &ServiceName) -> Result<Vec<HostVolume>, ServiceError> {
        Ok(self.uses.podman.volumes(service).await?)
    }

    /// Gives the ids of removed services away whose volumes are gone, too.
    ///
    /// # Errors
    /// The store can't be read or written, or Podman does not answer: the ids of the others are given away.
    pub async fn free_unused_ids(&self) -> Result<(), ServiceError> {
        let mut freed = Ok(());
        for name in self.uses.store.kept_ids().await? {
            let free = async {
                if self.volumes(&name).await?.is_empty() {
                    self.uses.store.free_ids(&name).await?;
                }
                Ok(())
            };
            // One that can't be looked at keeps no other.
            freed = freed.and(free.await);
        }
        freed
    }
}
