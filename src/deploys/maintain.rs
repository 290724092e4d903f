//! Maintenance of everything: what a crash, an administrator or a lost event left undone is done here. It runs at
//! the agent's start and once a minute (`services.maintenance`), and it never starts a unit.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::due::Due;
use super::troubles::{MaintenancePass, Task, Troubles};
use super::{DeployError, Uses};
use crate::events::Event;
use crate::names::{Actor, DeploymentId, ReleaseNumber};
use crate::problem::chain;
use crate::queue::Backoff;
use crate::services::{HostView, ServiceError};
use crate::store::{Cause, NewDeployment, Service, StoreError};

/// How many steps one look takes to forget what is over of one service.
const STEPS: u32 = 10;

/// What looks at everything, again and again.
#[derive(Debug)]
pub(super) struct Maintenance<'a> {
    pub(super) uses: &'a Uses,
    /// What it could not do until now.
    troubles: &'a Troubles,
    /// Rings where there is another configuration.
    reconfigured: &'a Notify,
    /// When what is kept is looked at again.
    due: Due,
}

impl<'a> Maintenance<'a> {
    pub(super) fn new(uses: &'a Uses, troubles: &'a Troubles, reconfigured: &'a Notify) -> Self {
        Self { uses, troubles, reconfigured, due: Due::new(uses.config.get().waits.cleanup) }
    }

    /// Looks at all of it regularly, for ever.
    pub(super) async fn go(mut self) {
        let mut backoff = Backoff::new(self.uses.config.get().waits.cleanup, Duration::MAX);
        loop {
            let all_done = self.look().await;
            self.uses.events.publish(Event::Any);
            let most = if all_done { Duration::MAX } else { backoff.next_pause() };
            if all_done {
                backoff.reset();
            }
            self.pause(most).await;
        }
    }

    /// Waits until the next look is due, `most` from now at the latest.
    async fn pause(&self, most: Duration) {
        let began = Instant::now();
        loop {
            let due = began + self.uses.config.get().services.maintenance.min(most);
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = self.uses.services.cleanup_flag().rung() => return,
                // It may be due at another time now.
                () = self.reconfigured.notified() => {}
            }
        }
    }

    /// Looks at all of it once; false where something could not be done. What fails of one service, or of one part, keeps
    /// no other from its turn.
    async fn look(&mut self) -> bool {
        let mut pass = MaintenancePass::begin(self.troubles);
        let writes = pass.note(Task::Store, None, self.uses.store.try_again().await).is_some();
        let Some(services) = pass.note(Task::Services, None, self.uses.store.services().await) else {
            return false;
        };
        pass.keep(|name| services.iter().any(|service| service.name == *name));
        let mut unfinished = HashSet::new();
        for service in &services {
            let waiting = self.uses.store.unfinished(&service.name).await;
            let waiting = pass.note(Task::Waiting, Some(&service.name), waiting).unwrap_or_default();
            if !waiting.is_empty() {
                self.uses.queue.poke(&service.name);
            }
            unfinished.extend(waiting.into_iter().map(|deployment| deployment.id));
        }
        for service in services.iter().filter(|service| !service.desired.is_deleted()) {
            pass.note(Task::Branch, Some(&service.name), self.queue_missed_push(service).await);
        }
        if writes {
            for service in &services {
                pass.note(Task::History, Some(&service.name), self.forget_what_is_over(service).await);
            }
        }
        if self.uses.services.cleanup_flag().take() {
            if self.clear(&services, &unfinished, &mut pass).await {
                self.due.now();
            } else {
                self.uses.services.cleanup_flag().note();
            }
        }
        self.tidy(&services, &mut pass).await;
        if self.due.is() {
            let cleared = self.clear_kept(&mut pass).await;
            self.due.next(cleared);
        }
        pass.all_done()
    }

    /// Queues what a branch holds that nobody told of.
    async fn queue_missed_push(&self, service: &Service) -> Result<(), ServiceError> {
        let services = &self.uses.services;
        // Whoever watches it looks at the branch at this moment.
        let Some(_watching) = services.try_watch_branch(&service.name) else { return Ok(()) };
        // Read again: its branch may be another since the services were listed.
        let Some(mut service) = services.find(&service.name).await? else { return Ok(()) };
        if let Some(branch) = services.adopt_missed_branch(&service).await? {
            service.branch = branch;
        }
        if let Some(commit) = services.missed_push(&service).await? {
            if services.skips(&service, &commit).await?.is_some() {
                return Ok(self.uses.store.set_seen_commit(service.id, commit).await?);
            }
            let push = NewDeployment::build(&service.name, Cause::Push, Actor::Agent, Some(commit));
            match self.uses.queue.request(push).await {
                // Somebody has stopped it since.
                Err(StoreError::Stopped(_)) => {}
                built => drop(built?),
            }
        }
        Ok(())
    }

    /// Forgets deployments and deliveries of a service that are kept too long, a few at a time; what is left is the next
    /// look's.
    async fn forget_what_is_over(&self, service: &Service) -> Result<(), StoreError> {
        for _ in 0..STEPS {
            if self.uses.store.forget_some(service.id).await? {
                break;
            }
        }
        Ok(())
    }

    /// Removes what deployments left that came to nothing; false where some of it stays.
    async fn clear(
        &self,
        services: &[Service],
        unfinished: &HashSet<DeploymentId>,
        pass: &mut MaintenancePass<'_>,
    ) -> bool {
        let mut cleared = pass.note(Task::Builds, None, self.clear_builds(unfinished).await).is_some();
        for service in services {
            let removed = self.clear_images(service).await;
            cleared &= pass.note(Task::Unreleased, Some(&service.name), removed).is_some();
        }
        let secrets = self.uses.services.discard_nobodys_secrets().await;
        cleared &= pass.note(Task::Secrets, None, secrets).is_some();
        cleared & pass.note(Task::Ids, None, self.uses.services.free_unused_ids().await).is_some()
    }

    /// Ends half switches and removals, and removes releases and routes that belong to nothing.
    async fn tidy(&self, services: &[Service], pass: &mut MaintenancePass<'_>) {
        // Those that are kept from now on may be because of what this look doesn't see.
        let kept = self.uses.store.kept_ports().await;
        let Some(view) = pass.note(Task::View, None, HostView::look(&self.uses.services).await) else { return };
        for service in services.iter().filter(|service| !self.uses.queue.is_busy(&service.name)) {
            pass.note(Task::Wanted, Some(&service.name), self.tidy_one(service, &view).await);
        }
        pass.note(Task::Routes, None, self.uses.services.withdraw_nobodys(&view).await);
        if view.has_all_routes() {
            let freed = async { self.uses.store.free_ports(kept?).await };
            pass.note(Task::Ports, None, freed.await);
        }
    }

    async fn tidy_one(&self, service: &Service, view: &HostView) -> Result<(), DeployError> {
        let is_deleted = service.desired.is_deleted();
        if !is_deleted && self.uses.services.pending(service, view, false).await?.is_empty() {
            return Ok(());
        }
        let _turn = self.uses.queue.turn(&service.name).await;
        if self.uses.queue.is_busy(&service.name) {
            return Ok(());
        }
        // Read again, now that nobody else changes it.
        let Ok(service) = self.uses.store.find_service(&service.name).await else { return Ok(()) };
        if service.desired.is_deleted() {
            self.uses.services.remove(&service).await?;
        } else {
            self.uses.services.reconcile(&service).await?;
        }
        Ok(())
    }

    /// Removes the units and folders of builds that no deployment waits for.
    async fn clear_builds(&self, unfinished: &HashSet<DeploymentId>) -> Result<(), DeployError> {
        let mut known: HashSet<DeploymentId> = self.uses.builds.folders().await?.into_iter().collect();
        known.extend(self.uses.units.builds().await.map_err(ServiceError::from)?);
        let mut cleared = Ok(());
        for id in known.difference(unfinished) {
            // It may have been asked for since the list was made, or its service's could not be read.
            let ended = match self.uses.store.deployment(*id).await {
                Ok(row) => row.state.is_final(),
                Err(StoreError::NoDeployment(_)) => true,
                Err(error) => {
                    cleared = Err(error.into());
                    false
                }
            };
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
        self.uses.builds.cancel(id).await?;
        Ok(self.uses.builds.clear(id).await?)
    }

    /// Removes the images and containers of releases that have neither a row nor a deployment that makes them. One that
    /// can't be removed keeps no other.
    async fn clear_images(&self, service: &Service) -> Result<(), DeployError> {
        let podman = &self.uses.podman;
        // The images come first: a release has its number in a row before it has an image.
        let images = podman.images(&service.name).await.map_err(ServiceError::from)?;
        let waiting = self.uses.store.unfinished(&service.name).await?;
        let mut numbers: HashSet<ReleaseNumber> = waiting.iter().filter_map(|deployment| deployment.release).collect();
        numbers.extend(self.uses.store.releases(service.id).await?.iter().map(|release| release.number));
        let mut cleared = Ok(());
        for release in images {
            if numbers.contains(&release.number) {
                continue;
            }
            tracing::info!(service = %service.name, "removing release {}, which was never released", release.number);
            let removed = async {
                podman.remove_container(&release.container()).await?;
                podman.forget_shift(&release).await?;
                podman.remove_image(&release.image()).await
            };
            cleared = cleared.and(removed.await.map_err(|error| ServiceError::from(error).into()));
        }
        cleared
    }
}
