//! What people ask for. Each answer is in the store before it is given.

use std::time::Duration;

use super::Deploys;
use crate::git::GitError;
use crate::names::{Actor, BranchName, CommitId, DeploymentId, ReleaseNumber, ServiceName};
use crate::problem::{Code, Problem};
use crate::services::ServiceError;
use crate::store::{Cause, Deployment, DeploymentState, Desired, HookDelivery, NewDelivery, NewDeployment, Service};

/// What became of a push.
#[derive(Debug)]
pub enum Pushed {
    /// It is deployed.
    Deployed(Box<Deployment>),
    /// It is kept: this is the branch that is deployed.
    Kept(BranchName),
    /// It is kept: a newer push has moved the branch on.
    Passed,
    /// It is kept, and not built: whoever pushed wants it so, or the message of its newest commit has this mark.
    Skipped(Option<&'static str>),
    /// The branch that is deployed is gone.
    Gone(BranchName),
}

impl Deploys {
    /// Builds a commit and makes it live. Without `commit` it is the newest of the service's branch, as it is when the
    /// deployment's turn comes.
    ///
    /// # Errors
    /// There is no such service, it is stopped and `cause` starts nothing that is, or nothing can be written.
    pub async fn build(
        &self,
        service: &ServiceName,
        cause: Cause,
        actor: Actor,
        commit: Option<CommitId>,
    ) -> Result<Deployment, ServiceError> {
        Ok(self.uses().queue.request(NewDeployment::build(service, cause, actor, commit)).await?)
    }

    /// Makes a new release of the current one's image, with the environment and settings of now.
    ///
    /// # Errors
    /// There is no such service, it has no release yet, or nothing can be written.
    pub async fn restart_quickly(&self, name: &ServiceName, actor: Actor) -> Result<Deployment, ServiceError> {
        let service = self.uses().store.service(name).await?;
        let current = service.current.ok_or_else(|| never_released(name))?;
        let new = NewDeployment::again(name, Cause::Restart, actor, current);
        Ok(self.uses().queue.request(new).await?)
    }

    /// Goes back to `release`, or to the one before the current ([`Store::release_before`]), with its environment and
    /// settings. The service has that environment for what follows once it is live, unless somebody sets another meanwhile.
    ///
    /// # Errors
    /// There is no such service or release, or none before the current one, or nothing can be written.
    ///
    /// [`Store::release_before`]: crate::store::Store::release_before
    pub async fn rollback(
        &self,
        name: &ServiceName,
        release: Option<ReleaseNumber>,
        actor: Actor,
    ) -> Result<Deployment, ServiceError> {
        let service = self.uses().store.service(name).await?;
        let release = match release {
            Some(number) => self.uses().store.release(service.id, number).await?,
            None => {
                let current = service.current.ok_or_else(|| never_released(name))?;
                let before = self.uses().store.release_before(service.id).await?.ok_or_else(|| {
                    Problem::new(Code::ReleaseGone, format!("`{name}` has no release before {current}"))
                        .with_hint("name another one: `podkeeper deployments NAME`, or GET /services/NAME/releases, lists those that are kept")
                })?;
                self.uses().store.release(service.id, before).await?
            }
        };
        let new = NewDeployment::again(name, Cause::Rollback, actor, release.number);
        Ok(self.uses().queue.request(new).await?)
    }

    /// Cancels a deployment, and tells how it ended: one that was given the traffic in the meantime is live.
    ///
    /// # Errors
    /// There is no such deployment, it has ended already, or nothing can be written.
    pub async fn cancel(&self, id: DeploymentId) -> Result<Deployment, ServiceError> {
        Ok(self.uses().queue.cancel(id).await?)
    }

    /// Waits until the deployment has ended or `limit` is over, and tells how it stands then.
    ///
    /// # Errors
    /// There is no such deployment, or the store can't be read.
    pub async fn wait(&self, id: DeploymentId, limit: Duration) -> Result<Deployment, ServiceError> {
        Ok(self.uses().queue.wait(id, limit).await?)
    }

    /// The same of a commit that its repository has. Where it runs already, or is on its way there, it is that deployment.
    ///
    /// # Errors
    /// There is no such service or commit, or nothing can be written.
    pub async fn build_commit(
        &self,
        name: &ServiceName,
        commit: CommitId,
        actor: Actor,
    ) -> Result<Deployment, ServiceError> {
        let service = self.uses().store.service(name).await?;
        if service.is_hosted() && !self.uses().services.has_commit(&service, &commit).await {
            return Err(GitError::NoSuchCommit(commit).into());
        }
        let newest = self.newest(name).await?.filter(|newest| newest.commit.as_ref() == Some(&commit));
        let leads_there = |newest: &Deployment| match newest.state {
            DeploymentState::Live => newest.release == service.current && service.desired == Desired::Running,
            state => !state.is_final() && newest.problem.is_none(),
        };
        match newest.filter(leads_there) {
            Some(newest) => Ok(newest),
            None => self.build(name, Cause::Start, actor, Some(commit)).await,
        }
    }

    /// Gives an empty service whose branch nobody has named the branch that was pushed first.
    ///
    /// # Errors
    /// There is no such service, its repository can't be read, or nothing can be written.
    pub async fn adopt_branch(&self, name: &ServiceName) -> Result<Option<BranchName>, ServiceError> {
        let _watching = self.uses().services.watch_branch(name).await;
        let service = self.uses().store.service(name).await?;
        self.uses().services.adopt_branch(&service).await
    }

    /// What a push has moved: the service's branch is deployed, everything else is only kept.
    ///
    /// # Errors
    /// There is no such service, its repository can't be read, or nothing can be written.
    pub async fn pushed(
        &self,
        name: &ServiceName,
        moved: &[(String, Option<CommitId>)],
        actor: Actor,
    ) -> Result<Pushed, ServiceError> {
        self.take_push(name, moved, Some(actor)).await
    }

    /// The same where whoever pushed wants nothing to be built.
    ///
    /// # Errors
    /// There is no such service, its repository can't be read, or nothing can be written.
    pub async fn pushed_unbuilt(
        &self,
        name: &ServiceName,
        moved: &[(String, Option<CommitId>)],
    ) -> Result<Pushed, ServiceError> {
        self.take_push(name, moved, None).await
    }

    /// `actor` is who wants it to be built.
    async fn take_push(
        &self,
        name: &ServiceName,
        moved: &[(String, Option<CommitId>)],
        actor: Option<Actor>,
    ) -> Result<Pushed, ServiceError> {
        let _watching = self.uses().services.watch_branch(name).await;
        let service = self.uses().store.service(name).await?;
        let reference = format!("refs/heads/{}", service.branch);
        match moved.iter().find(|(moved, _)| *moved == reference) {
            Some((_, Some(commit))) => {
                // Two that push at once may be told of in another order than theirs.
                if !self.uses().services.is_at(&service, commit).await? {
                    return Ok(Pushed::Passed);
                }
                if let Some(begun) = self.begun_without_hook(&service, commit).await? {
                    return Ok(Pushed::Deployed(Box::new(begun)));
                }
                let mark = self.uses().services.skips(&service, commit).await?;
                let Some(actor) = actor.filter(|_| mark.is_none()) else {
                    self.uses().store.set_seen_commit(service.id, commit.clone()).await?;
                    return Ok(Pushed::Skipped(mark));
                };
                let commit = Some(commit.clone());
                Ok(Pushed::Deployed(Box::new(self.build(name, Cause::Push, actor, commit).await?)))
            }
            Some((_, None)) => Ok(Pushed::Gone(service.branch)),
            None => Ok(Pushed::Kept(service.branch)),
        }
    }

    async fn newest(&self, name: &ServiceName) -> Result<Option<Deployment>, ServiceError> {
        Ok(self.uses().store.deployments(name, None, 1).await?.deployments.into_iter().next())
    }

    /// What maintenance has queued for this commit, where it came before git's hook.
    async fn begun_without_hook(
        &self,
        service: &Service,
        commit: &CommitId,
    ) -> Result<Option<Deployment>, ServiceError> {
        Ok(self.newest(&service.name).await?.filter(|newest| {
            newest.commit.as_ref() == Some(commit)
                && newest.cause == Cause::Push
                && newest.actor == Actor::Agent.to_string()
        }))
    }

    /// Writes down what a forge delivered, with the deployment that it asks for. One that is remembered gets what it got
    /// before, and builds nothing.
    ///
    /// # Errors
    /// There is no such service, or nothing can be written.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<HookDelivery, ServiceError> {
        Ok(self.uses().queue.deliver(delivery).await?)
    }
}

fn never_released(name: &ServiceName) -> ServiceError {
    Problem::new(Code::Conflict, format!("`{name}` has no release yet"))
        .with_hint(format!(
            "push to it, or build what it has: `podkeeper deploy {name}`, or POST /services/{name}/start"
        ))
        .into()
}
