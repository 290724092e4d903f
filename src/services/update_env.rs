//! Changes of a service's variables: merged into what is set, and a release that has them where one runs.

use super::env::Changes;
use super::{ServiceError, Services};
use crate::events::Event;
use crate::names::{Actor, EnvKey, ReleaseNumber, ServiceName};
use crate::store::{Cause, Deployment, Desired, EnvChange, NewDeployment, Service, StoreError};

/// How often variables are merged into what is set, where a release brings others meanwhile.
const TRIES: u32 = 5;

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

/// What an update of the environment would do.
#[derive(Debug)]
pub struct EnvPlan {
    /// The keys that would be set after it.
    pub keys: Vec<EnvKey>,
    /// Those of them whose value is another or none by now.
    pub set: Vec<EnvKey>,
    /// The keys that would be gone.
    pub removed: Vec<EnvKey>,
    /// Whether a release that has it would take the place of what runs.
    pub restarts: bool,
}

impl Services {
    /// Changes a service's variables; where it runs and `restart` says so, a new release has them, unless the current one
    /// does and no other comes that does not.
    ///
    /// # Errors
    /// There is no such service, a value is none or all of them are too long, others were set meanwhile again and
    /// again, or Podman or the store does not take them.
    pub async fn update_env(
        &self,
        name: &ServiceName,
        changes: Changes,
        replace: bool,
        restart: bool,
        actor: Actor,
    ) -> Result<EnvUpdate, ServiceError> {
        let updated = self.merge_repeatedly(name, &changes, replace, restart, actor).await;
        match &updated {
            // Values that nothing names any more go with the release that comes.
            Ok(EnvUpdate::Deployed(_) | EnvUpdate::Same) => {}
            Ok(EnvUpdate::Kept) => self.settle(name).await,
            // Nothing has changed but that there may be values that no row names.
            Err(_) => self.cleanup_flag.note(),
        }
        updated
    }

    async fn merge_repeatedly(
        &self,
        name: &ServiceName,
        changes: &Changes,
        replace: bool,
        restart: bool,
        actor: Actor,
    ) -> Result<EnvUpdate, ServiceError> {
        let _held = self.env_locks.hold(name).await;
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.merge_env(name, changes, replace, restart, actor.clone()).await {
                // A release went live meanwhile, and brought the one that it had.
                // Its values were made for nothing.
                Err(ServiceError::Store(StoreError::EnvChanged)) if tries > 0 => self.cleanup_flag.note(),
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
        let store = &self.uses.store;
        let change = self.prepare_env(name, changes, replace).await?;
        let is_same = change.before == change.after;
        let service = store.service(name).await?;
        if restart && let Some(current) = self.needs_release(&service, &change).await? {
            let again = NewDeployment::again(name, Cause::Env, actor, current);
            let new = NewDeployment { env: Some(change.clone()), ..again };
            match self.uses.queue.request(new).await {
                // It is for the next release, by whoever starts it.
                Err(StoreError::Stopped(_)) => {}
                asked => return Ok(EnvUpdate::Deployed(Box::new(asked?))),
            }
        }
        // Also what is there already: somebody wants it, and a release that comes brings no other.
        store.set_env(name, change).await?;
        if is_same {
            return Ok(EnvUpdate::Same);
        }
        self.uses.events.publish(Event::Service(name.clone()));
        Ok(EnvUpdate::Kept)
    }

    /// What the same update would do. Nothing is changed.
    ///
    /// # Errors
    /// There is no such service, a value is none or all of them are too long, or Podman or the store does not answer.
    pub async fn plan_update(
        &self,
        name: &ServiceName,
        changes: &Changes,
        replace: bool,
        restart: bool,
    ) -> Result<EnvPlan, ServiceError> {
        let change = self.plan_env(name, changes, replace).await?;
        let service = self.uses.store.service(name).await?;
        let restarts = restart
            && self.needs_release(&service, &change).await?.is_some()
            && (service.desired != Desired::Stopped || self.is_starting(&service).await?);
        let EnvChange { before, after } = &change;
        let set = after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| key.clone());
        let removed = before.keys().filter(|key| !after.contains_key(*key)).cloned();
        let (set, removed) = (set.collect(), removed.collect());
        Ok(EnvPlan { keys: after.keys().cloned().collect(), set, removed, restarts })
    }

    /// The current release, where it needs one beside it that has the variables: it lacks some itself, or another is on its
    /// way that does.
    async fn needs_release(
        &self,
        service: &Service,
        change: &EnvChange,
    ) -> Result<Option<ReleaseNumber>, ServiceError> {
        let Some(current) = service.current else { return Ok(None) };
        let needs = self.lacks_env(service, current, change).await? || self.brings_other_env(service, change).await?;
        Ok(needs.then_some(current))
    }

    /// Whether a stopped service runs with a release that is on its way all the same.
    async fn is_starting(&self, service: &Service) -> Result<bool, ServiceError> {
        let unfinished = self.uses.store.unfinished(&service.name).await?;
        let starts = |deployment: &Deployment| {
            deployment.problem.is_none() && (deployment.release.is_none() || deployment.release != service.current)
        };
        Ok(unfinished.iter().any(starts))
    }

    async fn lacks_env(
        &self,
        service: &Service,
        release: ReleaseNumber,
        change: &EnvChange,
    ) -> Result<bool, ServiceError> {
        match self.uses.store.release(service.id, release).await {
            Ok(release) => Ok(release.env != change.after),
            Err(StoreError::NoRelease(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a release is under way that has, or may have, other variables than these.
    async fn brings_other_env(&self, service: &Service, change: &EnvChange) -> Result<bool, ServiceError> {
        for deployment in self.uses.store.unfinished(&service.name).await? {
            let brings = match deployment.release {
                Some(number) => match self.uses.store.release(service.id, number).await {
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
}
