//! Fetching an external repository: one branch, its newest commit, from an address that was looked at before.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use super::command::{run, settings};
use super::remote::Remote;
use super::repositories::LOCAL;
use super::{Failure, GitError, Repositories};
use crate::names::{BranchName, CommitId, RepoUri, ServiceName, Transport};

/// Where the newest fetched commit is kept.
const FETCHED: &str = "refs/podkeeper/fetched";
/// Where a commit is kept that was asked for by its id.
const NAMED: &str = "refs/podkeeper/named";

/// What of a branch is fetched.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Its newest commit.
    Newest,
    /// This commit, and so many altogether with those that came before it.
    Commit(&'a CommitId, u32),
}

/// What is fetched from a repository, and to where.
#[derive(Debug)]
pub(super) struct Refspec {
    /// A ref or a commit's id, `:`, and the ref that has it here.
    pub(super) text: String,
    /// How many commits come, with those before it.
    pub(super) depth: u32,
}

impl Wanted<'_> {
    /// The ref that has it here.
    fn kept(self) -> &'static str {
        match self {
            Self::Newest => FETCHED,
            Self::Commit(..) => NAMED,
        }
    }

    fn refspec(self, branch: &BranchName) -> Refspec {
        let kept = self.kept();
        match self {
            Self::Newest => Refspec { text: format!("refs/heads/{branch}:{kept}"), depth: 1 },
            Self::Commit(commit, depth) => Refspec { text: format!("{commit}:{kept}"), depth },
        }
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The commit.
    pub commit: CommitId,
    /// The branch that has it.
    pub branch: BranchName,
}

/// How much may come, in MiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// At once.
    most: u64,
    /// Until the repository is full.
    left: u64,
}

impl Room {
    /// MiB.
    pub(super) fn limit(self) -> u64 {
        self.most.min(self.left)
    }
}

/// Removes what a fetch that was cut off left in a repository's folder of packs, and gives the size of the largest such
/// file, in bytes. There is one fetch of a repository at a time, and a push keeps elsewhere what isn't whole yet.
async fn clear_unfinished(packs: &Path) -> u64 {
    let mut largest = 0;
    let Ok(mut entries) = tokio::fs::read_dir(packs).await else { return largest };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.file_name().as_encoded_bytes().starts_with(b"tmp_") {
            largest = largest.max(entry.metadata().await.map_or(0, |found| found.len()));
            let _ = tokio::fs::remove_file(entry.path()).await;
        }
    }
    largest
}

impl Repositories {
    /// Fetches the newest commit of `branch`, or where none is given of the one that the forge's `HEAD` names; `secret` is
    /// what is secret of the address. Where the forge says that the repository lies elsewhere, it is fetched there, once.
    pub async fn fetch(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        branch: Option<&BranchName>,
        secret: Option<&SecretString>,
    ) -> Result<Fetched, GitError> {
        self.fetch_wanted(service, uri, branch, secret, Wanted::Newest).await
    }

    /// The same of what is wanted of the branch.
    pub(super) async fn fetch_wanted(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        branch: Option<&BranchName>,
        secret: Option<&SecretString>,
        wanted: Wanted<'_>,
    ) -> Result<Fetched, GitError> {
        let fetched = self.fetch_at(service, uri, branch, secret, wanted).await;
        match fetched {
            Err(error) if uri.transport() == Transport::Http && error.is_of_the_forge() => {
                let moved = self.ask_why(uri, secret, error).await?;
                let (moved, secret) = match moved.reads_as(uri) {
                    true => (moved.read_by(uri), secret),
                    false => (moved, None),
                };
                tracing::info!("the forge says that the repository is at {}; it is fetched there", moved.address());
                self.fetch_at(service, &moved, branch, secret, wanted).await
            }
            other => other,
        }
    }

    async fn fetch_at(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        branch: Option<&BranchName>,
        secret: Option<&SecretString>,
        wanted: Wanted<'_>,
    ) -> Result<Fetched, GitError> {
        let remote = self.remote(service, uri, secret).await?;
        let folder = self.folder(service);
        if !self.exists(service).await {
            let main = "main".parse().map_err(|_| GitError::Answer)?;
            self.create(service, None, branch.unwrap_or(&main)).await?;
        }
        let room = self.room(service).await?;
        let branch = match branch {
            Some(branch) => branch.clone(),
            None => self.remote_head(&remote, &folder).await?,
        };
        let limit = self.config.get().git.fetch_timeout;
        match self.fetch_into(&remote, &folder, room, &wanted.refspec(&branch), limit).await {
            Err(GitError::Failed { why: Failure::NoSuchBranch, .. }) if matches!(wanted, Wanted::Newest) => {
                return Err(self.without_branch(&remote, &folder, &branch).await);
            }
            fetched => fetched?,
        }
        self.tidy_fetched(&folder).await;
        let mut parse = self.git();
        parse.env("GIT_DIR", &folder).args([
            "rev-parse",
            "--verify",
            "--quiet",
            &format!("{}^{{commit}}", wanted.kept()),
        ]);
        let output = run(parse, "read the fetched commit", LOCAL).await?;
        match String::from_utf8_lossy(&output).trim().parse() {
            Ok(commit) => Ok(Fetched { commit, branch }),
            Err(_) => Err(GitError::NoCommits(branch.to_string())),
        }
    }

    /// How much may come into the service's repository.
    pub(super) async fn room(&self, service: &ServiceName) -> Result<Room, GitError> {
        self.check_room(&self.folder(service), 0)?;
        Ok(Room { most: self.config.get().git.max_push_mib, left: self.left(service).await? })
    }

    /// Fetches the commit that `refspec` begins with into the repository `folder`.
    pub(super) async fn fetch_into(
        &self,
        remote: &Remote,
        folder: &Path,
        room: Room,
        refspec: &Refspec,
        limit: Duration,
    ) -> Result<(), GitError> {
        let mut command = self.git_with(remote, folder, Some(room.limit()));
        command.args(["fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head"]);
        command.arg(format!("--depth={}", refspec.depth)).arg("--").arg(remote.target()).arg(&refspec.text);
        let fetched = run(command, "fetch the repository", limit).await;
        let unfinished = clear_unfinished(&folder.join("objects/pack")).await;
        match fetched {
            Err(_) if unfinished >= room.limit().saturating_mul(1024 * 1024) => Err(match room.left < room.most {
                true => GitError::RepositoryFull(self.config.get().git.max_repository_mib),
                false => GitError::FetchTooLarge(room.most),
            }),
            other => other.map(drop),
        }
    }

    /// What earlier deployments fetched goes after git's two weeks.
    pub(super) async fn tidy_fetched(&self, folder: &Path) {
        let mut tidy = self.git();
        tidy.env("GIT_DIR", folder).args(["gc", "--auto", "--quiet"]);
        settings(&mut tidy, &[("gc.autoPackLimit", "20".into())]);
        if let Err(error) = run(tidy, "tidy the repository", self.config.get().git.fetch_timeout).await {
            tracing::warn!("{error}");
        }
    }
}
