//! The regular look at everything: what a crash, an administrator or a lost event left undone is done here. It runs at
//! the agent's start and once a minute (`services.look`), and it never starts a unit.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::pauses::Pauses;
use super::{DeployError, Deploys};
use crate::events::Event;
use crate::names::{DeploymentId, ReleaseName, ReleaseNumber, ServiceName};
use crate::problem::chain;
use crate::services::{HostView, ServiceError};
use crate::store::Service;

/// How long until the next look where something could not be done; it doubles each time, up to `services.look`.
const SOON: Duration = Duration::from_secs(3);
/// How many steps one look takes to forget what is over of one service.
const STEPS: u32 = 10;
/// How long between two looks at the build cache.
const CACHE: Duration = Duration::from_secs(3600);

/// Whether something may lie about that only a look at all of Podman finds. It is so at the start, too.
#[derive(Debug)]
pub(super) struct Untidy {
    is: AtomicBool,
    ring: Notify,
}

impl Default for Untidy {
    fn default() -> Self {
        Self { is: AtomicBool::new(true), ring: Notify::new() }
    }
}

impl Untidy {
    /// Lets the next look come soon, and be thorough.
    pub(super) fn set(&self) {
        self.is.store(true, Ordering::SeqCst);
        self.ring.notify_one();
    }
}

impl Deploys {
    /// Goes on with what was under way, then looks at all of it regularly, until the agent stops.
    pub async fn maintain(&self) {
        let stopping = self.inner.stopping.clone();
        // What is dropped here is what a crash cuts off, and is begun again.
        let _ = stopping
            .run_until_cancelled(async {
                let mut pauses = Pauses::new(SOON, Duration::MAX);
                let mut said = None;
                let mut cache_due = Instant::now();
                loop {
                    let looked = self.look(&mut cache_due).await;
                    self.parts().events.publish(Event::Any);
                    let most = match looked {
                        Ok(()) => {
                            pauses.reset();
                            said = None;
                            Duration::MAX
                        }
                        Err(error) => {
                            let why = chain(&error);
                            if said.as_ref() != Some(&why) {
                                tracing::warn!("can't look after the services: {why}");
                                said = Some(why);
                            }
                            pauses.next()
                        }
                    };
                    self.pause(most).await;
                }
            })
            .await;
    }

    /// Waits until the next look is due, `most` from now at the latest.
    async fn pause(&self, most: Duration) {
        let began = Instant::now();
        loop {
            let due = began + self.parts().config.get().services.look.min(most);
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = self.inner.untidy.ring.notified() => return,
                // It may be due at another time now.
                () = self.inner.reconfigured.notified() => {}
            }
        }
    }

    async fn look(&self, cache_due: &mut Instant) -> Result<(), DeployError> {
        self.parts().store.try_again().await?;
        let services = self.parts().store.services().await?;
        let mut unfinished = HashSet::new();
        for service in &services {
            let waiting = self.parts().store.unfinished(&service.name).await?;
            if !waiting.is_empty() {
                self.poke(&service.name);
            }
            unfinished.extend(waiting.into_iter().map(|deployment| deployment.id));
        }
        for service in services.iter().filter(|service| !service.desired.is_deleted()) {
            if let Err(error) = self.queue_missing_push(service).await {
                tracing::warn!(service = %service.name, "can't see what its branch holds: {}", chain(&error));
            }
        }
        self.forget_what_is_over(&services).await?;
        let mut cleared = Ok(());
        if self.inner.untidy.is.swap(false, Ordering::SeqCst) {
            cleared = self.clear(&services, &unfinished).await;
            if cleared.is_err() {
                self.inner.untidy.is.store(true, Ordering::SeqCst);
            }
            *cache_due = Instant::now();
        }
        let tidied = self.tidy(services).await;
        if Instant::now() >= *cache_due && self.clear_caches().await? {
            *cache_due = Instant::now() + CACHE;
        }
        cleared.and(tidied)
    }

    /// Forgets deployments and deliveries that are kept too long, a few at a time; what is left is the next look's.
    async fn forget_what_is_over(&self, services: &[Service]) -> Result<(), DeployError> {
        for service in services {
            for _ in 0..STEPS {
                if self.parts().store.forget_some(service.id).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Removes what is kept of builds too long. What Podman itself keeps of them waits until none is under way: false.
    async fn clear_caches(&self) -> Result<bool, DeployError> {
        self.inner.builds.clear_caches(&self.service_names().await?).await?;
        self.while_none_builds(async {
            self.inner.builds.clear_leftovers().await?;
            self.inner.builds.clear_steps().await
        })
        .await
    }

    /// Removes caches of builds where the disk is too full for one.
    pub(super) async fn make_room(&self) {
        let made = async {
            if self.inner.builds.lacks_space()? {
                self.inner.builds.clear_caches(&self.service_names().await?).await?;
            }
            Ok::<(), DeployError>(())
        };
        if let Err(error) = made.await {
            tracing::warn!("can't make room on the disk: {}", chain(&error));
        }
    }

    /// The names of all services, those that are being removed among them.
    async fn service_names(&self) -> Result<Vec<ServiceName>, DeployError> {
        Ok(self.parts().store.services().await?.into_iter().map(|service| service.name).collect())
    }

    /// Removes what deployments left that came to nothing. What fails for one keeps no other from its turn.
    async fn clear(&self, services: &[Service], unfinished: &HashSet<DeploymentId>) -> Result<(), DeployError> {
        let mut cleared = self.clear_builds(unfinished).await;
        for service in services {
            if let Err(error) = self.clear_images(service).await {
                tracing::warn!(service = %service.name, "can't remove what was never released: {}", chain(&error));
                cleared = Err(error);
            }
        }
        self.parts().free_unused_ids().await?;
        cleared
    }

    /// Ends half switches and removals, and removes releases and routes that belong to nothing. What fails for one
    /// service keeps no other from its turn.
    async fn tidy(&self, services: Vec<Service>) -> Result<(), DeployError> {
        let view = HostView::look(self.parts()).await?;
        let mut failed = Ok(());
        for service in services.iter().filter(|service| !self.inner.slots.busy(&service.name)) {
            if let Err(error) = self.tidy_one(service, &view).await {
                tracing::warn!(service = %service.name, "it is not as it should be: {}", chain(&error));
                failed = Err(error);
            }
        }
        self.parts().withdraw_nobodys(&view).await?;
        failed
    }

    async fn tidy_one(&self, service: &Service, view: &HostView) -> Result<(), DeployError> {
        let is_deleted = service.desired.is_deleted();
        if !is_deleted && self.parts().pending(service, view, false).await?.is_empty() {
            return Ok(());
        }
        let _turn = self.inner.turns.hold(&service.name).await;
        if self.inner.slots.busy(&service.name) {
            return Ok(());
        }
        // Read again, now that nobody else changes it.
        let Ok(service) = self.parts().store.find_service(&service.name).await else { return Ok(()) };
        if service.desired.is_deleted() {
            self.parts().remove(&service).await?;
        } else {
            self.parts().reconcile(&service, false, async { Ok(()) }).await?;
        }
        Ok(())
    }

    /// Removes the units and folders of builds that no deployment waits for.
    async fn clear_builds(&self, unfinished: &HashSet<DeploymentId>) -> Result<(), DeployError> {
        let mut known: HashSet<DeploymentId> = self.inner.builds.folders().await?.into_iter().collect();
        known.extend(self.parts().units.builds().await.map_err(ServiceError::from)?);
        let mut cleared = Ok(());
        for id in known.difference(unfinished) {
            // It may have been asked for since the list was made.
            let ended = self.parts().store.deployment(*id).await.map_or(true, |row| row.state.is_final());
            if ended {
                tracing::info!("clearing away the build {id}, which nobody waits for");
                if let Err(error) = self.clear_build(*id).await {
                    tracing::warn!("can't clear the build {id} away: {}", chain(&error));
                    cleared = Err(error);
                }
            }
        }
        cleared
    }

    async fn clear_build(&self, id: DeploymentId) -> Result<(), DeployError> {
        self.inner.builds.cancel(id).await?;
        Ok(self.inner.builds.clear(id).await?)
    }

    /// Removes the images and containers of releases that have neither a row nor a deployment that makes them.
    async fn clear_images(&self, service: &Service) -> Result<(), DeployError> {
        let podman = &self.parts().podman;
        // The images come first: a release has its number in a row before it has an image.
        let images = podman.images(&service.name).await.map_err(ServiceError::from)?;
        let waiting = self.parts().store.unfinished(&service.name).await?;
        let mut numbers: HashSet<ReleaseNumber> = waiting.iter().filter_map(|deployment| deployment.release).collect();
        numbers.extend(self.parts().store.releases(service.id).await?.iter().map(|release| release.number));
        for number in images.iter().filter_map(|image| image.rsplit(':').next()?.parse::<ReleaseNumber>().ok()) {
            if numbers.contains(&number) {
                continue;
            }
            let release = ReleaseName::new(&service.name, number);
            tracing::info!(service = %service.name, "removing release {number}, which was never released");
            let removed = async {
                podman.remove_container(&release.container()).await?;
                podman.forget_shift(&release).await?;
                podman.remove_image(&release.image()).await
            };
            removed.await.map_err(ServiceError::from)?;
        }
        Ok(())
    }
}
