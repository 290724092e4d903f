//! Removing a service with all that belongs to it. Each step may be repeated, and the row, which says whether the volumes
//! go, too, goes last, so that a removal that was cut off is ended by the regular look.

use super::reconcile::HostView;
use super::{Adapters, ServiceError, spec};
use crate::events::Event;
use crate::names::{HostVolume, ReleaseName, SecretName, ServiceName};
use crate::store::{Desired, Service};

/// What a removal took away, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// What is gone, each as a person calls it: `release 3`, `volume blog.data`.
    pub removed: Vec<String>,
    /// What is kept.
    pub kept: Vec<String>,
}

/// What marks the agent's last word of a service: whoever reads it has read what the service printed.
#[must_use]
pub fn removal_mark(service: &Service) -> String {
    format!("removed {} {}", service.id, service.created.as_microsecond())
}

impl Adapters {
    /// Removes `service`, whose row says that it shall be, and whether with its volumes. Nothing of it may be under way.
    pub async fn remove(&self, service: &Service) -> Result<Removed, ServiceError> {
        let volumes_go = service.desired == Desired::Deleted { volumes: true };
        let mut report = Removed::default();
        for host in spec::hosts(service, &self.config.get()) {
            self.routes.remove_host(&host).await?;
            report.removed.push(format!("route {host}"));
        }
        let mut wanted_stopped = service.clone();
        wanted_stopped.desired = Desired::Stopped;
        let view = HostView::look(self).await?;
        let releases = self.store.releases(service.id).await?;
        for step in self.pending(&wanted_stopped, &view, false).await? {
            self.take(&wanted_stopped, &step).await?;
        }
        for release in releases {
            self.discard_release(service, release.number).await?;
            report.removed.push(format!("release {}", release.number));
        }
        // What a deployment left that never came to a release.
        for release in self.podman.containers(ReleaseName::of_container).await? {
            if release.service == service.name {
                self.podman.remove_container(&release.container()).await?;
            }
        }
        for release in self.podman.images(&service.name).await? {
            self.podman.remove_image(&release.image()).await?;
        }
        self.units.reload().await?;
        for secret in self.podman.secrets(&SecretName::prefix(&service.name)).await? {
            if *secret.service() == service.name {
                self.podman.remove_secret(&secret).await?;
            }
        }
        report.removed.push("environment".into());
        self.repositories.remove(&service.name).await?;
        report.removed.push("repository".into());
        for volume in self.volumes(&service.name).await? {
            if volumes_go {
                self.podman.remove_volume(&volume).await?;
                report.removed.push(format!("volume {volume}"));
            } else {
                report.kept.push(format!("volume {volume}"));
            }
        }
        self.store.forget_service(service.id).await?;
        if report.kept.is_empty() {
            self.store.free_ids(&service.name).await?;
        }
        tracing::info!(service = %service.name, mark = removal_mark(service), "service removed");
        self.events.publish(Event::Removed(service.name.clone()));
        // The tokens of this service went with it.
        self.events.publish(Event::Credentials);
        Ok(report)
    }

    /// What a removal that has ended has kept.
    pub async fn left_of(&self, name: &ServiceName) -> Result<Removed, ServiceError> {
        let kept = self.volumes(name).await?.into_iter().map(|volume| format!("volume {volume}")).collect();
        Ok(Removed { kept, ..Removed::default() })
    }

    async fn volumes(&self, service: &ServiceName) -> Result<Vec<HostVolume>, ServiceError> {
        Ok(self.podman.volumes(service).await?)
    }

    /// Gives the ids of removed services away whose volumes are gone, too.
    pub async fn free_unused_ids(&self) -> Result<(), ServiceError> {
        let mut freed = Ok(());
        for name in self.store.kept_ids().await? {
            let free = async {
                if self.volumes(&name).await?.is_empty() {
                    self.store.free_ids(&name).await?;
                }
                Ok(())
            };
            // One that can't be looked at keeps no other.
            freed = freed.and(free.await);
        }
        freed
    }
}
