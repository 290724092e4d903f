//! What people ask for. Each answer is in the store before it is given.

use std::time::Duration;

use super::Deploys;
use crate::events::Event;
use crate::names::{Actor, BranchName, CommitId, DeploymentId, ReleaseNumber, ServiceName};
use crate::problem::{Code, Problem};
use crate::services::env::Changes;
use crate::services::{Removed, ServiceError, spec};
use crate::store::{
    Cause, Delivered, Deployment, Desired, EnvChange, HookDelivery, NewBranch, NewDelivery, NewDeployment, Service,
    Settings, Source, State, StoreError,
};

/// How long a cancelled deployment may take to end.
const CANCEL: Duration = Duration::from_secs(30);
/// How often variables are merged into what is set, where a release brings others meanwhile.
const ENV: u32 = 5;

/// What an update of the environment led to.
#[derive(Debug)]
pub enum EnvUpdate {
    /// A release that has it.
    Deployed(Box<Deployment>),
    /// It waits for the next release.
    Kept,
    /// Nothing of it is another than before.
    Same,
}

impl Deploys {
    async fn request(&self, new: NewDeployment) -> Result<Deployment, ServiceError> {
        let (deployment, superseded) = self.parts().store.request_deployment(new).await?;
        self.announce(&deployment, superseded);
        Ok(deployment)
    }

    /// Tells what was queued, and lets it begin.
    fn announce(&self, deployment: &Deployment, superseded: Vec<DeploymentId>) {
        for id in superseded {
            let said = format!("superseded by deployment {}", deployment.id);
            self.ended(id, &deployment.service, State::Superseded, None, &said);
        }
        tracing::info!(
            deployment = %deployment.id,
            service = %deployment.service,
            cause = deployment.cause.as_str(),
            actor = deployment.actor,
            "queued"
        );
        self.tell(deployment);
        self.parts().events.publish(Event::Service(deployment.service.clone()));
        self.poke(&deployment.service);
    }

    /// Builds a commit and makes it live. Without `commit` it is the newest of the service's branch, as it is when the
    /// deployment's turn comes.
    pub async fn build(
        &self,
        service: &ServiceName,
        cause: Cause,
        actor: Actor,
        commit: Option<CommitId>,
    ) -> Result<Deployment, ServiceError> {
        let new = NewDeployment { service: service.clone(), cause, actor, commit, from_release: None, env: None };
        self.request(new).await
    }

    /// Makes a new release of the current one's image, with the environment and settings of now.
    pub async fn restart_quickly(&self, name: &ServiceName, actor: Actor) -> Result<Deployment, ServiceError> {
        let service = self.parts().store.service(name).await?;
        let current = service.current.ok_or_else(|| never_released(name))?;
        let new = NewDeployment {
            service: name.clone(),
            cause: Cause::Restart,
            actor,
            commit: None,
            from_release: Some(current),
            env: None,
        };
        self.request(new).await
    }

    /// Goes back to `release`, or to the one before the current ([`Store::release_before`]), with its environment and
    /// settings. The service has that environment for what follows once it is live, unless somebody sets another meanwhile.
    ///
    /// [`Store::release_before`]: crate::store::Store::release_before
    pub async fn rollback(
        &self,
        name: &ServiceName,
        release: Option<ReleaseNumber>,
        actor: Actor,
    ) -> Result<Deployment, ServiceError> {
        let service = self.parts().store.service(name).await?;
        let release = match release {
            Some(number) => self.parts().store.release(service.id, number).await?,
            None => {
                let current = service.current.ok_or_else(|| never_released(name))?;
                let before = self.parts().store.release_before(service.id).await?.ok_or_else(|| {
                    Problem::new(Code::ReleaseGone, format!("`{name}` has no release before {current}"))
                        .with_hint("name another one: `podkeeper deployments NAME`, or GET /services/NAME/releases, lists those that are kept")
                })?;
                self.parts().store.release(service.id, before).await?
            }
        };
        let new = NewDeployment {
            service: name.clone(),
            cause: Cause::Rollback,
            actor,
            commit: None,
            from_release: Some(release.number),
            env: None,
        };
        self.request(new).await
    }

    /// Changes a service's variables; where it runs and `restart` says so, a new release has them, unless the current one
    /// does and no other comes that does not.
    pub async fn update_env(
        &self,
        name: &ServiceName,
        changes: Changes,
        replace: bool,
        restart: bool,
        actor: Actor,
    ) -> Result<EnvUpdate, ServiceError> {
        let _held = self.parts().env_locks.hold(name).await;
        let mut tries = ENV;
        loop {
            tries -= 1;
            match self.merge_env(name, &changes, replace, restart, actor.clone()).await {
                // A release went live meanwhile, and brought the one that it had.
                Err(ServiceError::Store(StoreError::EnvChanged)) if tries > 0 => {}
                merged => return merged,
            }
        }
    }

    /// Merges the changes into what is set; it fails where that is another by the time that it would be written.
    async fn merge_env(
        &self,
        name: &ServiceName,
        changes: &Changes,
        replace: bool,
        restart: bool,
        actor: Actor,
    ) -> Result<EnvUpdate, ServiceError> {
        let store = &self.parts().store;
        let change = self.parts().prepare_env(name, changes, replace).await?;
        let is_same = change.before == change.after;
        let service = store.service(name).await?;
        if let Some(current) = service.current.filter(|_| restart && service.desired == Desired::Running)
            && (self.lacks_env(&service, current, &change).await? || self.brings_other_env(&service, &change).await?)
        {
            let new = NewDeployment {
                service: name.clone(),
                cause: Cause::Env,
                actor,
                commit: None,
                from_release: Some(current),
                env: Some(change),
            };
            return Ok(EnvUpdate::Deployed(Box::new(self.request(new).await?)));
        }
        // Also what is there already: somebody wants it, and a release that comes brings no other.
        store.set_env(name, change).await?;
        if is_same {
            return Ok(EnvUpdate::Same);
        }
        self.parts().events.publish(Event::Service(name.clone()));
        Ok(EnvUpdate::Kept)
    }

    async fn lacks_env(
        &self,
        service: &Service,
        release: ReleaseNumber,
        change: &EnvChange,
    ) -> Result<bool, ServiceError> {
        match self.parts().store.release(service.id, release).await {
            Ok(release) => Ok(release.env != change.after),
            Err(StoreError::NoRelease(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a release is under way that has, or may have, other variables than these.
    async fn brings_other_env(&self, service: &Service, change: &EnvChange) -> Result<bool, ServiceError> {
        for deployment in self.parts().store.unfinished(&service.name).await? {
            let brings = match deployment.release {
                Some(number) => match self.parts().store.release(service.id, number).await {
                    Ok(release) => Some(release.env != change.after),
                    Err(StoreError::NoRelease(_)) => None,
                    Err(error) => return Err(error.into()),
                },
                None => None,
            };
            // It is made of what is set, or was until now, unless it goes back.
            if brings.unwrap_or(deployment.cause == Cause::Rollback || change.before != change.after) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Changes a service's settings, and its branch where there is one. Nothing is waited for: a deployment that is under
    /// way ends with what it began with, and what concerns a release is the next one's.
    pub async fn change_settings(
        &self,
        name: &ServiceName,
        branch: Option<BranchName>,
        change: impl FnOnce(Settings) -> Result<Settings, Problem> + Send + 'static,
    ) -> Result<Service, ServiceError> {
        let parts = self.parts();
        parts.store.service(name).await?;
        let branch = match branch {
            // What it holds already is deployed when somebody pushes or starts, not by the change itself.
            Some(branch) => Some(NewBranch { head: parts.repositories.head(name, &branch).await?, name: branch }),
            None => None,
        };
        let config = parts.config.get();
        let change = move |settings| {
            let settings = change(settings)?;
            match settings.domains.iter().find(|domain| spec::is_given(domain, &config)) {
                None => Ok(settings),
                Some(domain) => {
                    let detail = format!("`{domain}` is an address that the host itself gives");
                    Err(Problem::new(Code::Conflict, detail).with_hint("choose a domain of your own"))
                }
            }
        };
        let service = parts.store.change_settings(name, branch, change).await??;
        self.settle(name).await;
        Ok(service)
    }

    /// Stops a service; it stays stopped, over reboots too. What was being deployed is cancelled.
    pub async fn stop_service(&self, name: &ServiceName, actor: &Actor) -> Result<Service, ServiceError> {
        let (service, cancelled) = self.parts().store.end_service(name, Desired::Stopped).await?;
        tracing::info!(service = %name, actor = %actor, "stopped by request");
        self.end_slot(&service, cancelled).await;
        let _turn = self.inner.turns.hold(name).await;
        // Read again: somebody may have started it while its turn was waited for.
        let service = self.parts().store.service(name).await?;
        self.parts().reconcile(&service, false, async { Ok(()) }).await?;
        Ok(service)
    }

    /// Removes a service with everything that belongs to it; its volumes only where `volumes` says so. Where something of it
    /// can't be removed, the regular look goes on, and so does whoever asks again.
    pub async fn delete(&self, name: &ServiceName, volumes: bool, actor: &Actor) -> Result<Removed, ServiceError> {
        let (service, cancelled) = self.parts().store.end_service(name, Desired::Deleted { volumes }).await?;
        tracing::info!(service = %name, actor = %actor, "removed by request");
        self.end_slot(&service, cancelled).await;
        let _turn = self.inner.turns.hold(name).await;
        // Read again: the regular look may have come before, and somebody may want the volumes gone, too, or kept.
        let removed = match self.parts().store.find_service(name).await {
            Ok(now) if now.id == service.id => self.parts().remove(&now).await,
            Ok(_) | Err(StoreError::NoService(_)) => self.parts().left_of(name).await,
            Err(error) => Err(error.into()),
        };
        // The cache of its builds, and whatever a removal that failed has left.
        self.inner.untidy.set();
        removed
    }

    async fn end_slot(&self, service: &Service, cancelled: Vec<DeploymentId>) {
        for id in cancelled {
            self.ended(id, &service.name, State::Cancelled, None, "cancelled");
        }
        self.inner.slots.cancel(&service.name, None);
    }

    /// Cancels a deployment, and tells how it ended: one that was given the traffic in the meantime is live.
    pub async fn cancel(&self, id: DeploymentId) -> Result<Deployment, ServiceError> {
        let deployment = self.parts().store.deployment(id).await?;
        if deployment.state.is_final() {
            return Err(StoreError::Ended(id.0).into());
        }
        if !self.inner.slots.cancel(&deployment.service, Some(id)) {
            if deployment.state == State::Queued {
                return Ok(self.end(id, State::Cancelled, None, None, "cancelled".into()).await?);
            }
            self.cancel_begun(&deployment.service, id);
        }
        let ended = self.wait(id, CANCEL).await?;
        if !ended.state.is_final() {
            self.parts().store.ready().await?;
        }
        Ok(ended)
    }

    /// What a push has moved: the service's branch is deployed, everything else is only kept. The text is for the
    /// person who pushes.
    pub async fn pushed(
        &self,
        name: &ServiceName,
        moved: &[(String, Option<CommitId>)],
        actor: Actor,
    ) -> Result<Result<Deployment, String>, ServiceError> {
        let service = self.parts().store.service(name).await?;
        let reference = format!("refs/heads/{}", service.branch);
        match moved.iter().find(|(moved, _)| *moved == reference) {
            Some((_, Some(commit))) => {
                let commit = Some(commit.clone());
                Ok(Ok(self.build(name, Cause::Push, actor, commit).await?))
            }
            Some((_, None)) => Ok(Err(format!("The branch `{}` is gone; what runs goes on.", service.branch))),
            None => Ok(Err(format!("Kept. Only a push to `{}` is deployed.", service.branch))),
        }
    }

    /// Writes down what a forge delivered, with the deployment that it asks for. One that is remembered gets what it got
    /// before, and builds nothing.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<HookDelivery, ServiceError> {
        let Delivered { delivery, again, superseded } = self.parts().store.deliver(delivery).await?;
        if let Some(deployment) = delivery.deployment.as_ref().filter(|_| !again) {
            self.announce(deployment, superseded);
        }
        Ok(delivery)
    }

    /// Queues what a hosted branch holds and no deployment was ever asked for: the agent died between the moved ref
    /// and the first row.
    pub(super) async fn queue_missing_push(&self, service: &Service) -> Result<(), ServiceError> {
        if matches!(service.source, Source::External { .. }) {
            return Ok(());
        }
        self.parts().complete_repository(service).await?;
        let seen = self.parts().store.seen_commit(service.id).await?;
        if let Some(seen) = &seen
            && self.parts().repositories.is_at(&service.name, &service.branch, seen).await
        {
            return Ok(());
        }
        let head = self.parts().repositories.head(&service.name, &service.branch).await?;
        match head {
            Some(head) if seen.as_ref() != Some(&head) => {
                self.build(&service.name, Cause::Push, Actor::Agent, Some(head)).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn never_released(name: &ServiceName) -> ServiceError {
    Problem::new(Code::Conflict, format!("`{name}` has no release yet"))
        .with_hint(format!(
            "push to it, or build what it has: `podkeeper deploy {name}`, or POST /services/{name}/start"
        ))
        .into()
}
