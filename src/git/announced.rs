//! A commit that is known before it is fetched: a forge's hook has told of it, or somebody asks for it by its id. What a forge
//! shows for a branch may for a while be older than what its hook has told.

use secrecy::SecretString;
use tokio::time::Instant;

use super::command::run;
use super::fetch::{Fetched, Wanted};
use super::repositories::LOCAL;
use super::{Failure, GitError, Repositories};
use crate::names::{BranchName, CommitId, RepoUri, ServiceName};

/// How many commits before it are fetched with one that a hook has told of, so that what the branch shows is seen to be
/// older.
const BEFORE: u32 = 20;

impl Repositories {
    /// Fetches the newest commit of `branch`, once it is the `announced` one or a newer one. Where it is another for long, a
    /// hook that is wrong and a forge that is late look the same.
    pub async fn fetch_announced(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        branch: Option<&BranchName>,
        secret: Option<&SecretString>,
        announced: &CommitId,
    ) -> Result<Fetched, GitError> {
        let waits = self.config.get().waits;
        let end = Instant::now() + waits.announced;
        let mut waited = false;
        loop {
            let shown = self.fetch(service, uri, branch, secret).await?;
            if shown.commit == *announced {
                return Ok(shown);
            }
            let branch = Some(&shown.branch);
            match self.fetch_wanted(service, uri, branch, secret, Wanted::Commit(announced, BEFORE)).await {
                Ok(named) if self.comes_before(service, &shown.commit, announced).await => return Ok(named),
                // The branch has moved on since, or has another history.
                Ok(_) => return Ok(shown),
                // It isn't there yet, or the forge gives no commit away by its id.
                Err(GitError::Failed { why: Failure::Other | Failure::NoSuchBranch, .. } | GitError::NoCommits(_)) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= end {
                let (commit, branch) = (announced.clone(), shown.branch);
                return Err(GitError::NotShown { commit, branch, seconds: waits.announced.as_secs() });
            }
            if !std::mem::replace(&mut waited, true) {
                tracing::info!("the forge still shows {} on `{}`; waiting for {announced}", shown.commit, shown.branch);
            }
            tokio::time::sleep(waits.announced_look).await;
        }
    }

    /// Fetches the commit `wanted`, whatever its branch has by now.
    pub async fn fetch_commit(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        branch: Option<&BranchName>,
        secret: Option<&SecretString>,
        wanted: &CommitId,
    ) -> Result<Fetched, GitError> {
        // A forge that gives no commit away by its id may have it on the branch.
        let shown = self.fetch(service, uri, branch, secret).await?;
        if shown.commit == *wanted {
            return Ok(shown);
        }
        match self.fetch_wanted(service, uri, Some(&shown.branch), secret, Wanted::Commit(wanted, 1)).await {
            Err(GitError::Failed { why: Failure::Other | Failure::NoSuchBranch, .. } | GitError::NoCommits(_)) => {
                Err(GitError::NoSuchCommit(wanted.clone()))
            }
            fetched => fetched,
        }
    }

    /// Whether one commit is among those that came before another, as far as they are here.
    async fn comes_before(&self, service: &ServiceName, one: &CommitId, other: &CommitId) -> bool {
        let mut command = self.git();
        command.env("GIT_DIR", self.folder(service)).args(["merge-base", "--is-ancestor"]);
        command.arg(one.as_str()).arg(other.as_str());
        run(command, "compare two commits", LOCAL).await.is_ok()
    }
}
