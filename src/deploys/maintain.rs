//! The regular look at everything: what a crash, an administrator or a lost event left undone is done here. It runs at
//! the agent's start and once a minute, and it never starts a unit.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::{DeployError, Deploys};
use crate::names::{DeploymentId, ReleaseName, ServiceName};
use crate::problem::chain;
use crate::services::{HostView, ServiceError};
use crate::store::{Desired, Service};

/// How long between two looks.
const PAUSE: Duration = Duration::from_secs(60);
/// How long until the next where a part of the host was away.
const SOON: Duration = Duration::from_secs(3);

impl Deploys {
    /// Goes on with what was under way, then looks once a minute, until the agent stops.
    pub async fn maintain(&self) {
        let stopping = self.inner.stopping.clone();
        // What is dropped here is what a crash cuts off, and is begun again.
        let _ = stopping
            .run_until_cancelled(async {
                let mut first = true;
                loop {
                    let pause = match self.look(first).await {
                        Ok(()) => {
                            first = false;
                            PAUSE
                        }
                        Err(error) => {
                            tracing::warn!("can't look after the services: {}", chain(&error));
                            SOON
                        }
                    };
                    tokio::time::sleep(pause).await;
                }
            })
            .await;
    }

    async fn look(&self, first: bool) -> Result<(), DeployError> {
        let services = self.parts().store.services().await?;
        let mut unfinished = HashSet::new();
        for service in &services {
            let waiting = self.parts().store.unfinished(&service.name).await?;
            if !waiting.is_empty() {
                self.poke(&service.name);
            }
            unfinished.extend(waiting.into_iter().map(|deployment| deployment.id));
        }
        self.clear_builds(&unfinished).await?;
        for service in services.iter().filter(|service| service.desired != Desired::Deleted) {
            if let Err(error) = self.queue_missing_push(service).await {
                tracing::warn!(service = %service.name, "can't see what its branch holds: {}", chain(&error));
            }
        }
        if first {
            self.clear_images(&services).await?;
        }
        self.tidy(services).await
    }

    /// Ends half switches and removals, and removes releases that belong to nothing.
    async fn tidy(&self, services: Vec<Service>) -> Result<(), DeployError> {
        let view = HostView::look(self.parts()).await?;
        for service in services {
            if self.inner.slots.busy(&service.name) {
                continue;
            }
            if service.desired == Desired::Deleted {
                let _turn = self.inner.turns.hold(&service.name).await;
                self.parts().remove(&service, false).await?;
                continue;
            }
            let failed = self.parts().store.failed_releases(service.id).await?;
            if failed.is_empty() && self.parts().pending(&service, &view, false).await?.is_empty() {
                continue;
            }
            let _turn = self.inner.turns.hold(&service.name).await;
            if self.inner.slots.busy(&service.name) {
                continue;
            }
            // Read again, now that nobody else changes it.
            let Ok(service) = self.parts().store.service(&service.name).await else { continue };
            for number in failed {
                let unit = ReleaseName::new(&service.name, number).unit();
                self.parts().units.stop(&unit, Duration::from_secs(60)).await.map_err(ServiceError::from)?;
                self.parts().discard_release(&service, number).await?;
            }
            self.parts().reconcile(&service, false, async { Ok(()) }).await?;
        }
        Ok(())
    }

    /// Removes the units, folders and working containers of builds that no deployment waits for.
    async fn clear_builds(&self, unfinished: &HashSet<DeploymentId>) -> Result<(), DeployError> {
        let mut known: HashSet<DeploymentId> = self.inner.builds.folders().await?.into_iter().collect();
        known.extend(self.parts().units.builds().await.map_err(ServiceError::from)?);
        for id in known.difference(unfinished) {
            // It may have been asked for since the list was made.
            let ended = self.parts().store.deployment(*id).await.map_or(true, |row| row.state.is_final());
            if ended {
                tracing::info!("clearing away the build {id}, which nobody waits for");
                self.inner.builds.cancel(*id).await?;
                self.inner.builds.clear(*id).await?;
            }
        }
        self.clear_working_containers().await
    }

    /// Removes the images and containers of releases that have neither a row nor a deployment that makes them.
    async fn clear_images(&self, services: &[Service]) -> Result<(), DeployError> {
        let mut named: BTreeMap<&ServiceName, HashSet<u32>> = BTreeMap::new();
        for service in services {
            let mut numbers: HashSet<u32> =
                self.parts().store.releases(service.id).await?.iter().map(|release| release.number.0).collect();
            let waiting = self.parts().store.unfinished(&service.name).await?;
            numbers.extend(waiting.iter().filter_map(|deployment| deployment.release).map(|number| number.0));
            named.insert(&service.name, numbers);
        }
        for (service, numbers) in named {
            for image in self.parts().podman.images(service).await.map_err(ServiceError::from)? {
                let Some(number) =
                    image.rsplit(':').next().and_then(|tag| tag.parse::<crate::names::ReleaseNumber>().ok())
                else {
                    continue;
                };
                if !numbers.contains(&number.0) {
                    let release = ReleaseName::new(service, number);
                    tracing::info!(service = %service, "removing release {number}, which was never released");
                    self.parts().podman.remove_container(&release.container()).await.map_err(ServiceError::from)?;
                    self.parts().podman.remove_image(&release.image()).await.map_err(ServiceError::from)?;
                }
            }
        }
        Ok(())
    }
}
