//! The folders of a build, which belong to the service's ids.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::error::{SandboxError, output, system};
use super::plan::Plan;
use crate::config;
use crate::uptime::{Age, Moment};

/// It says how long ago the service's last build was ([`Age`]).
pub(super) const USED: &str = "used";
/// How often a cache that was removed meanwhile is made anew.
const TRIES: u32 = 10;

/// A service's part of the cache: of its images and steps, and of the folders that steps mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cache {
    /// The images and steps.
    pub(super) store: PathBuf,
    /// The folders that steps mount with `--mount=type=cache`.
    pub(super) mounts: PathBuf,
    folder: PathBuf,
}

impl Cache {
    pub(super) fn of(plan: &Plan) -> Self {
        let folder = plan.cache.join(plan.service.as_str());
        Self { store: folder.join("store"), mounts: folder.join("mounts"), folder }
    }

    /// Makes what isn't there. While the answer lives nobody removes it.
    fn make(&self, owner: u32) -> Result<File, SandboxError> {
        let what = "make the service's cache";
        std::fs::create_dir_all(self.folder.parent().unwrap_or(&self.folder)).map_err(system(what))?;
        for _ in 0..TRIES {
            // One of the same name may have had other ids.
            if self.store.metadata().is_ok_and(|found| found.uid() != owner) {
                remove(&self.folder)?;
            }
            make(&self.folder, 0)?;
            let lock = File::open(&self.folder).map_err(system(what))?;
            lock.lock().map_err(system(what))?;
            if is_same(&lock, &self.folder) {
                make(&self.store, owner)?;
                make(&self.mounts, owner)?;
                let age = Age::none(&Moment::now().map_err(system(what))?);
                std::fs::write(self.folder.join(USED), age.text()).map_err(system(what))?;
                return Ok(lock);
            }
        }
        Err(system(what)(ErrorKind::ResourceBusy.into()))
    }
}

/// Whether the folder is still at this path.
fn is_same(folder: &File, path: &Path) -> bool {
    let id = |found: std::fs::Metadata| (found.dev(), found.ino());
    folder.metadata().map(id).is_ok_and(|id_of| path.symlink_metadata().map(id).is_ok_and(|id| id == id_of))
}

/// How long ago the cache's last build was, as far as that can be told, and notes it down. None: a build has it.
pub(super) fn grow_older(folder: &Path, now: &Moment) -> Result<Option<Duration>, SandboxError> {
    let what = "see how old a cache is";
    let lock = File::open(folder).map_err(system(what))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(system(what)(source)),
    }
    let used = folder.join(USED);
    let age = Age::read(&std::fs::read(&used).map_err(system(what))?, now);
    std::fs::write(&used, age.text()).map_err(system(what))?;
    Ok(Some(age.duration()))
}

/// Takes a cache out of its place, unless a build has it, and tells where it is then.
pub(super) fn take_away(folder: &Path) -> Result<Option<PathBuf>, SandboxError> {
    let what = "take a cache away";
    let lock = File::open(folder).map_err(system(what))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(system(what)(source)),
    }
    // No service has such a name: what is left there goes with the next look.
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let gone = folder.with_file_name(format!(".{name}.{}", std::process::id()));
    std::fs::rename(folder, &gone).map_err(system(what))?;
    Ok(Some(gone))
}

/// The build's folders while this lives. What is kept from build to build stays.
pub(super) struct Folders {
    own: [PathBuf; 2],
    /// What the build is given, which is in its own place by the time that anything of it runs.
    given: PathBuf,
    _cache: File,
}

impl Folders {
    pub(super) fn make(plan: &Plan) -> Result<Self, SandboxError> {
        let cache = Cache::of(plan).make(plan.ids.base)?;
        let own = [plan.temporary.to_path_buf(), plan.out.to_path_buf()];
        let folders = Self { own, given: plan.given.to_path_buf(), _cache: cache };
        folders.remove();
        for folder in &folders.own {
            make(folder, plan.ids.base)?;
        }
        Ok(folders)
    }

    fn remove(&self) {
        for folder in &self.own {
            // What is left the agent removes with the rest of the build.
            let _ = remove(folder);
        }
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.remove();
        let _ = remove(&self.given);
    }
}

/// Removes a folder and all that is in it. Coreutils know how to walk folders of any depth.
pub(super) fn remove(folder: &Path) -> Result<(), SandboxError> {
    let mut rm = Command::new(config::system::RM);
    output(rm.args(["-rf", "--one-file-system", "--"]).arg(folder), "remove a build's folder").map(drop)
}

/// Makes a folder of this owner, and of nobody else, where it isn't there.
pub(super) fn make(folder: &Path, owner: u32) -> Result<(), SandboxError> {
    let what = "make the build's folders";
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.map_err(system(what))?,
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(system(what))?;
    chown(folder, Some(owner), Some(owner)).map_err(system(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_taken_away_between_builds_and_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("blog");
        let cache = Cache { store: folder.join("store"), mounts: folder.join("mounts"), folder: folder.clone() };
        let own = nix::unistd::getuid().as_raw();
        let lock = cache.make(own).unwrap();
        std::fs::write(cache.store.join("layer"), b"x").unwrap();
        assert_eq!(take_away(&folder).unwrap(), None, "a build has it");
        drop(lock);
        drop(cache.make(own).unwrap());
        assert!(cache.store.join("layer").exists(), "it is kept from build to build");
        let gone = take_away(&folder).unwrap().unwrap();
        assert!(gone.join("store/layer").exists() && !folder.exists());
        drop(cache.make(own).unwrap());
        assert!(!cache.store.join("layer").exists());
        // Another service's of the same name is none of its own. Root alone can give it away.
        std::fs::write(cache.store.join("layer"), b"x").unwrap();
        let made = cache.make(7);
        assert!(!cache.store.join("layer").exists());
        assert_eq!(made.is_ok(), own == 0);
    }
}
