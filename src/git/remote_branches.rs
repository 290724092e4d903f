//! Which branches a repository elsewhere has, and which of them its `HEAD` names.

use std::path::Path;

use super::command::run;
use super::remote::Remote;
use super::{GitError, Repositories};
use crate::names::BranchName;

/// How many branches are named.
const NAMED: usize = 10;

/// The branch that `git ls-remote --symref` says the `HEAD` is.
fn head(listed: &str) -> Option<BranchName> {
    listed.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.strip_suffix("\tHEAD")?.parse().ok())
}

/// The branches that `git ls-remote --heads` lists, those that could be deployed, as a person reads them; none where there
/// is none.
fn branches(listed: &str) -> Option<String> {
    let names = listed.lines().filter_map(|line| line.split_once("\trefs/heads/")?.1.parse::<BranchName>().ok());
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => None,
        all if all > NAMED => Some(format!("{} and {} more", names[..NAMED].join(", "), all - NAMED)),
        _ => Some(names.join(", ")),
    }
}

impl Repositories {
    /// The branch that the repository's `HEAD` names.
    pub(super) async fn remote_head(&self, remote: &Remote, folder: &Path) -> Result<BranchName, GitError> {
        let listed = self.list(remote, folder, &["--symref"], "HEAD").await?;
        let branch = head(&listed).ok_or(GitError::NoHead)?;
        tracing::info!("no branch was given; the forge's own is `{branch}`, which is deployed from here on");
        Ok(branch)
    }

    /// Why there is no such branch.
    pub(super) async fn without_branch(&self, remote: &Remote, folder: &Path, branch: &BranchName) -> GitError {
        match self.list(remote, folder, &["--heads"], "refs/heads/*").await.map(|listed| branches(&listed)) {
            Ok(Some(there)) => GitError::NoSuchBranch { branch: branch.to_string(), there },
            _ => GitError::NoCommits(branch.to_string()),
        }
    }

    async fn list(&self, remote: &Remote, folder: &Path, how: &[&str], what: &str) -> Result<String, GitError> {
        // ssh keeps the key of a host that it meets.
        let mut command = self.git_with(remote, folder, Some(1));
        command.args(["ls-remote", "--quiet"]).args(how).arg("--").arg(remote.target()).arg(what);
        let listed = run(command, "list the repository's branches", self.config.get().git.fetch_timeout).await?;
        Ok(String::from_utf8_lossy(&listed).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_a_branch_that_could_be_deployed() {
        let id = "0".repeat(40);
        assert_eq!(head(&format!("ref: refs/heads/trunk\tHEAD\n{id}\tHEAD\n")).unwrap().as_str(), "trunk");
        for none in ["", &format!("{id}\tHEAD\n"), "ref: refs/heads/-x\tHEAD\n", "ref: refs/tags/x\tHEAD\n"] {
            assert_eq!(head(none), None, "{none}");
        }
    }

    #[test]
    fn few_branches_are_named_and_the_others_counted() {
        let listed = |count: usize| (0..count).map(|n| format!("{}\trefs/heads/b{n}\n", "0".repeat(40))).collect();
        let list = |count: usize| -> Option<String> {
            branches(&{
                let all: String = listed(count);
                all
            })
        };
        assert_eq!(list(0), None);
        assert_eq!(list(2).unwrap(), "`b0`, `b1`");
        assert!(list(12).unwrap().ends_with("`b9` and 2 more"));
        assert_eq!(branches("x\trefs/heads/\x1b[2J\n"), None);
    }
}
