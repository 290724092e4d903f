//! The bare repositories: made, looked at, checked out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;

use super::GitError;
use super::command::{Bounds, failed, git, run};
use super::outcome::Outcomes;
use super::pushes::Pushes;
use crate::config::LiveConfig;
use crate::names::{BranchName, CommitId, ServiceName};
use crate::permits::Shares;

/// How long a look at a repository of ours may take.
pub(super) const LOCAL: Duration = Duration::from_secs(60);

/// How many are fetched from at once: by all, and by one who is known.
const FETCHES: (usize, usize) = (32, 16);
/// The same of pushes, which wait for their builds.
const PUSHES: (usize, usize) = (48, 32);

/// All repositories of this host.
#[derive(Debug, Clone)]
pub struct Repositories {
    pub(super) config: LiveConfig,
    /// Held while one is made: a service that is being made has a row already, and maintenance makes what a row lacks.
    making: Arc<Mutex<()>>,
    /// For git's programs that answer requests, by who asks: each takes some memory, and a client may make one last.
    pub(super) fetches: Arc<Shares<String>>,
    pub(super) pushes: Arc<Shares<String>>,
    pub(super) under_way: Arc<Pushes>,
    /// How the pushes under way are to end.
    pub(super) outcomes: Outcomes,
}

impl Repositories {
    /// The repositories below the configuration's state folder.
    #[must_use]
    pub fn new(config: LiveConfig) -> Self {
        let [fetches, pushes] = [FETCHES, PUSHES].map(|(all, each)| Arc::new(Shares::new(all, each)));
        Self {
            config,
            making: Arc::default(),
            fetches,
            pushes,
            under_way: Arc::default(),
            outcomes: Outcomes::default(),
        }
    }

    pub(super) fn folder(&self, service: &ServiceName) -> PathBuf {
        self.config.get().paths.repositories().join(format!("{service}.git"))
    }

    pub(super) fn git(&self) -> Command {
        self.git_within(None)
    }

    /// Git, which writes no file that is larger.
    pub(super) fn git_within(&self, file_mib: Option<u64>) -> Command {
        let config = self.config.get();
        let bounds = Bounds { memory: config.git.memory_mib, file: file_mib };
        git(&config.paths.git, &config.paths.repositories(), bounds)
    }

    /// Whether the service's repository is there.
    pub async fn exists(&self, service: &ServiceName) -> bool {
        tokio::fs::try_exists(self.folder(service).join("HEAD")).await.unwrap_or(false)
    }

    /// Makes the service's repository, with the files in `starter` as its first commit. It is made beside its place and
    /// moved there, so that it is there whole or not at all. One that is there stays as it is.
    pub async fn create(
        &self,
        service: &ServiceName,
        starter: Option<&Path>,
        branch: &BranchName,
    ) -> Result<(), GitError> {
        let _alone = self.making.lock().await;
        if self.exists(service).await {
            return Ok(());
        }
        let folder = self.folder(service);
        let part = folder.with_extension("part");
        remove_folder(&part).await?;
        tokio::fs::create_dir_all(&part).await.map_err(failed("make", &part))?;
        let mut init = self.git();
        init.args(["init", "--quiet", "--bare"]).arg(format!("--initial-branch={branch}")).arg("--").arg(&part);
        run(init, "make a repository", LOCAL).await?;
        if let Some(starter) = starter {
            self.commit_folder(&part, starter, branch).await?;
        }
        tokio::fs::rename(&part, &folder).await.map_err(failed("make", &folder))
    }

    async fn commit_folder(&self, repository: &Path, files: &Path, branch: &BranchName) -> Result<(), GitError> {
        let what = "commit the template's files";
        let index = repository.join("starter.index");
        let inside = || {
            let mut command = self.git();
            command.env("GIT_DIR", repository).env("GIT_WORK_TREE", files).env("GIT_INDEX_FILE", &index);
            for role in ["AUTHOR", "COMMITTER"] {
                command.env(format!("GIT_{role}_NAME"), "Podkeeper");
                command.env(format!("GIT_{role}_EMAIL"), "podkeeper@localhost");
            }
            command.current_dir(files);
            command
        };
        let mut add = inside();
        add.args(["-c", "core.autocrlf=false", "add", "--force", "--all", "--", "."]);
        run(add, what, LOCAL).await?;
        let mut commit = inside();
        commit.args(["commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message=Start from the template"]);
        run(commit, what, LOCAL).await?;
        tokio::fs::remove_file(&index).await.map_err(failed("remove", &index))?;
        let mut head = self.git();
        head.env("GIT_DIR", repository).args(["symbolic-ref", "HEAD"]).arg(format!("refs/heads/{branch}"));
        run(head, what, LOCAL).await.map(drop)
    }

    /// Removes the service's repository and its deploy key.
    pub async fn remove(&self, service: &ServiceName) -> Result<(), GitError> {
        remove_folder(&self.folder(service)).await?;
        remove_folder(&self.folder(service).with_extension("part")).await?;
        for file in self.key_files(service) {
            match tokio::fs::remove_file(&file).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", &file)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The newest commit of a branch; none where there is none.
    pub async fn head(&self, service: &ServiceName, branch: &BranchName) -> Result<Option<CommitId>, GitError> {
        if !self.exists(service).await {
            return Ok(None);
        }
        let mut command = self.git();
        command.env("GIT_DIR", self.folder(service)).args(["for-each-ref", "--format=%(refname) %(objectname)", "--"]);
        command.arg(format!("refs/heads/{branch}"));
        let output = run(command, "look at the branch", LOCAL).await?;
        let wanted = format!("refs/heads/{branch} ");
        let text = String::from_utf8_lossy(&output);
        // A pattern also matches the names below it.
        Ok(text.lines().find_map(|line| line.strip_prefix(&wanted)).and_then(|id| id.trim().parse().ok()))
    }

    /// Whether the branch is at `commit`, as far as one look at its own file tells; false may mean that another look
    /// is needed.
    pub async fn is_at(&self, service: &ServiceName, branch: &BranchName, commit: &CommitId) -> bool {
        let file = self.folder(service).join("refs/heads").join(branch.as_str());
        tokio::fs::read_to_string(file).await.is_ok_and(|text| text.trim() == commit.as_str())
    }

    /// Whether the repository holds the commit.
    pub async fn has(&self, service: &ServiceName, commit: &CommitId) -> bool {
        let mut command = self.git();
        command.env("GIT_DIR", self.folder(service)).arg("cat-file").arg("-e").arg(format!("{commit}^{{commit}}"));
        run(command, "look for the commit", LOCAL).await.is_ok()
    }
}

async fn remove_folder(folder: &Path) -> Result<(), GitError> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn two_who_make_the_same_repository_at_once_have_one() {
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.paths.state = state.path().to_owned().try_into().unwrap();
        let repositories = Repositories::new(LiveConfig::new(config));
        let starter = tempfile::tempdir().unwrap();
        std::fs::write(starter.path().join("index.html"), "hello").unwrap();
        let (service, branch): (ServiceName, BranchName) = ("blog".parse().unwrap(), "main".parse().unwrap());
        let make = || repositories.create(&service, Some(starter.path()), &branch);
        let (one, two) = tokio::join!(make(), make());
        one.unwrap();
        two.unwrap();
        assert!(repositories.head(&service, &branch).await.unwrap().is_some());
        assert!(!repositories.folder(&service).with_extension("part").exists());
    }
}
