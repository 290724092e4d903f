//! What a repository on this host has: which branches, which of them is its HEAD, and what a commit's message says.

use std::io::Write;

use super::command::{failed, run};
use super::repositories::LOCAL;
use super::{GitError, Repositories};
use crate::names::{BranchName, CommitId, ServiceName};

/// How many branches are looked at where none is the service's yet.
const MOST: usize = 1000;
/// How much of a message is looked at, in bytes.
const MESSAGE: usize = 64 * 1024;

impl Repositories {
    /// The branches, by name: a thousand at most, and none whose name could not be a service's branch.
    pub async fn branches(&self, service: &ServiceName) -> Result<Vec<BranchName>, GitError> {
        let mut command = self.git();
        command.env("GIT_DIR", self.folder(service)).arg("for-each-ref").arg(format!("--count={MOST}"));
        command.args(["--format=%(refname:lstrip=2)", "--", "refs/heads/"]);
        let output = run(command, "list the branches", LOCAL).await?;
        Ok(String::from_utf8_lossy(&output).lines().filter_map(|name| name.parse().ok()).collect())
    }

    /// Whether a push to the repository is under way, which may have moved some of its branches and not yet others.
    #[must_use]
    pub fn is_pushed_to(&self, service: &ServiceName) -> bool {
        self.under_way.is_running(&self.folder(service).join("objects"))
    }

    /// Makes `branch` the one that a clone checks out and that can't be pushed away. Where it is so already nothing is
    /// written.
    pub async fn set_head(&self, service: &ServiceName, branch: &BranchName) -> Result<(), GitError> {
        let folder = self.folder(service);
        let (file, wanted) = (folder.join("HEAD"), format!("ref: refs/heads/{branch}\n"));
        let set = move || {
            if std::fs::read_to_string(&file).is_ok_and(|found| found == wanted) {
                return Ok(());
            }
            // Not by git, whose lock stays where it is ended in the middle.
            let mut part = tempfile::NamedTempFile::new_in(&folder).map_err(failed("write", &file))?;
            part.write_all(wanted.as_bytes()).map_err(failed("write", &file))?;
            part.as_file().sync_all().map_err(failed("write", &file))?;
            part.persist(&file).map_err(|error| failed("write", &file)(error.error))?;
            Ok(())
        };
        // It is never cancelled: that fails only as the whole agent ends.
        tokio::task::spawn_blocking(set).await.unwrap_or(Ok(()))
    }

    /// What a commit's message says, as far as it is looked at.
    pub async fn message(&self, service: &ServiceName, commit: &CommitId) -> Result<String, GitError> {
        let mut command = self.git();
        command.env("GIT_DIR", self.folder(service)).args(["log", "--max-count=1", "--no-show-signature"]);
        command.args(["--format=%B"]).arg(commit.as_str()).arg("--");
        let output = run(command, "read the commit's message", LOCAL).await?;
        Ok(String::from_utf8_lossy(&output[..output.len().min(MESSAGE)]).into_owned())
    }
}
