//! A service's repository on this host.

use tokio::sync::OwnedMutexGuard;

use super::{ServiceError, Services};
use crate::events::Event;
use crate::git::{GitRequest, GitResponse, PushId};
use crate::hooks::skip_mark;
use crate::names::{BranchName, CommitId, ServiceName};
use crate::problem::{Code, Problem};
use crate::store::{Desired, Service, Source};

/// What the branch of a new repository is usually called.
const USUAL: [&str; 2] = ["main", "master"];

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

    /// Gives a service whose branch nobody has named, and which has no commit there, the one that was pushed; of several it is
    /// `main`, else `master`, else the first by name. The caller watches the branch.
    ///
    /// # Errors
    /// The repository can't be read, or nothing can be written.
    pub async fn adopt_branch(&self, service: &Service) -> Result<Option<BranchName>, ServiceError> {
        let (name, repositories) = (&service.name, &self.uses.repositories);
        let is_open = service.is_hosted() && !service.branch_chosen && service.current.is_none();
        if !is_open || !repositories.exists(name).await || repositories.head(name, &service.branch).await?.is_some() {
            return Ok(None);
        }
        let branches = repositories.branches(name).await?;
        let usual = USUAL.iter().find_map(|usual| branches.iter().find(|branch| branch.as_str() == *usual));
        let Some(branch) = usual.or_else(|| branches.first()).cloned() else { return Ok(None) };
        self.uses.store.adopt_branch(service.id, &branch).await?;
        repositories.set_head(name, &branch).await?;
        self.uses.events.publish(Event::Service(name.clone()));
        tracing::info!(service = %name, "its branch is `{branch}`, the first that was pushed");
        Ok(Some(branch))
    }

    /// The same where nobody tells of the push: an agent died between the moved ref and git's hook.
    ///
    /// # Errors
    /// The repository can't be read, or nothing can be written.
    pub async fn adopt_missed_branch(&self, service: &Service) -> Result<Option<BranchName>, ServiceError> {
        if self.uses.repositories.is_pushed_to(&service.name) {
            return Ok(None);
        }
        self.adopt_branch(service).await
    }

    /// The mark in the message of a commit that is not to be built because of it.
    ///
    /// # Errors
    /// The repository can't be read.
    pub async fn skips(&self, service: &Service, commit: &CommitId) -> Result<Option<&'static str>, ServiceError> {
        if service.settings.skip_marks == Some(false) {
            return Ok(None);
        }
        Ok(skip_mark(&self.uses.repositories.message(&service.name, commit).await?))
    }

    /// Whether a repository on this host has the commit.
    pub async fn has_commit(&self, service: &Service, commit: &CommitId) -> bool {
        self.uses.repositories.has(&service.name, commit).await
    }

    /// Says of a push that waits for its deployment whether it is to fail.
    pub fn end_push(&self, push: PushId, fails: bool) {
        self.uses.repositories.end_push(push, fails);
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
        repositories.set_head(&service.name, &service.branch).await?;
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
