//! A service's repository on this host.

use tokio::sync::OwnedMutexGuard;

use super::{ServiceError, Services};
use crate::git::{GitRequest, GitResponse};
use crate::names::{CommitId, ServiceName};
use crate::problem::{Code, Problem};
use crate::store::{Desired, Service, Source};

impl Services {
    /// Makes the repositories that a service with a row lacks, because the agent died between the two.
    ///
    /// # Errors
    /// Its template is none any more, the repository can't be made, or nothing can be written.
    pub async fn complete_repository(&self, service: &Service) -> Result<(), ServiceError> {
        if let Source::Template(template) = &service.source
            && !self.uses.repositories.exists(&service.name).await
        {
            let found = self.uses.templates.get(template).await?;
            self.uses.repositories.create(&service.name, found.files.as_deref(), &service.branch).await?;
        }
        if self.uses.store.seen_commit(service.id).await?.is_none() && self.begins_with_files(service).await {
            self.see_starter(service).await?;
        }
        Ok(())
    }

    /// Whether its repository was made with a commit in it. Without one the first is somebody's push.
    pub(super) async fn begins_with_files(&self, service: &Service) -> bool {
        match &service.source {
            Source::Template(template) => {
                self.uses.templates.get(template).await.map_or(true, |found| found.files.is_some())
            }
            Source::External { .. } => false,
        }
    }

    /// The starter's commit is nobody's push.
    pub(super) async fn see_starter(&self, service: &Service) -> Result<(), ServiceError> {
        if let Some(head) = self.uses.repositories.head(&service.name, &service.branch).await? {
            self.uses.store.set_seen_commit(service.id, head).await?;
        }
        Ok(())
    }

    /// Waits until nobody else looks where the service's branch is and queues what it holds, so that each push is queued once
    /// and the newest last.
    pub async fn watch_branch(&self, name: &ServiceName) -> OwnedMutexGuard<()> {
        self.branch_locks.hold(name).await
    }

    /// The same, unless somebody else does.
    #[must_use]
    pub fn try_watch_branch(&self, name: &ServiceName) -> Option<OwnedMutexGuard<()>> {
        self.branch_locks.try_hold(name)
    }

    /// Whether the service's branch is at `commit`.
    ///
    /// # Errors
    /// The repository can't be read.
    pub async fn is_at(&self, service: &Service, commit: &CommitId) -> Result<bool, ServiceError> {
        let (name, branch, repositories) = (&service.name, &service.branch, &self.uses.repositories);
        // It may be packed.
        Ok(repositories.is_at(name, branch, commit).await
            || repositories.head(name, branch).await?.as_ref() == Some(commit))
    }

    /// What a hosted branch holds and no deployment was ever asked for: the agent died between the moved ref and the first
    /// row.
    ///
    /// # Errors
    /// The repository can't be made or read, or the store can't be read.
    pub async fn missed_push(&self, service: &Service) -> Result<Option<CommitId>, ServiceError> {
        // What is stopped builds it when somebody starts it.
        if !service.is_hosted() || service.desired == Desired::Stopped {
            return Ok(None);
        }
        self.complete_repository(service).await?;
        let (store, repositories) = (&self.uses.store, &self.uses.repositories);
        let seen = store.seen_commit(service.id).await?;
        if let Some(seen) = &seen
            && repositories.is_at(&service.name, &service.branch, seen).await
        {
            return Ok(None);
        }
        let head = repositories.head(&service.name, &service.branch).await?;
        Ok(head.filter(|head| seen.as_ref() != Some(head)))
    }

    /// Answers a request of git's.
    ///
    /// # Errors
    /// Git can't be run, or the request is none that it answers.
    pub async fn smart_http(&self, request: GitRequest) -> Result<GitResponse, ServiceError> {
        Ok(self.uses.repositories.smart_http(request).await?)
    }

    /// The public key that reads a repository elsewhere, which is made at the first call.
    ///
    /// # Errors
    /// There is no such service, its code lies on this host, or the key can't be made.
    pub async fn deploy_key(&self, name: &ServiceName) -> Result<String, ServiceError> {
        let service = self.service(name).await?;
        if service.is_hosted() {
            let detail = format!("the code of `{name}` lies on this host, so no key reads it");
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        Ok(self.uses.repositories.deploy_key(name).await?)
    }
}
