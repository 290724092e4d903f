//! How large a repository may become, however often somebody pushes to it: what a push brings and no branch names stays
//! for two weeks (git-gc(1)), and what one that was cut off has begun may, too.

use std::path::{Path, PathBuf};

use super::{GitError, Repositories};
use crate::names::ServiceName;

const MIB: u64 = 1024 * 1024;

impl Repositories {
    /// How much more may come into the repository, in MiB.
    pub(super) async fn left(&self, service: &ServiceName) -> Result<u64, GitError> {
        let folders = ["objects", "lfs", "modules"].map(|name| self.folder(service).join(name));
        let most = self.config.get().git.max_repository_mib;
        // It is never cancelled: that fails only as the whole agent ends.
        let taken = tokio::task::spawn_blocking(move || all(&folders)).await.unwrap_or(u64::MAX);
        match most.saturating_sub(taken / MIB) {
            0 => Err(GitError::RepositoryFull(most)),
            left => Ok(left),
        }
    }
}

/// What lies in all of these, in bytes.
fn all(folders: &[PathBuf]) -> u64 {
    folders.iter().map(|folder| taken(folder)).fold(0, u64::saturating_add)
}

/// What lies in a folder of git's own, in bytes. What goes meanwhile takes nothing.
fn taken(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let found = entry.metadata().ok()?;
        Some(if found.is_dir() { taken(&entry.path()) } else { found.len() })
    });
    sizes.fold(0, u64::saturating_add)
}
