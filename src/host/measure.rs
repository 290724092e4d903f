//! What takes the disk. It is measured in the background when somebody asks and the last measurement is old: a look at all
//! files of a host takes long, and nobody pays for it who doesn't want to know.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Host;
use super::space::{Images, Space, Volumes};
use crate::problem::chain;

/// How old a measurement gets before the next question begins another.
const OLD: Duration = Duration::from_secs(300);
/// How long one may take, whatever answers.
const LIMIT: Duration = Duration::from_secs(600);
/// How many files of a journal are looked at: journald itself keeps a hundred of each kind.
const FILES: usize = 10_000;

/// One measurement is under way until this is dropped.
struct UnderWay<'a>(&'a AtomicBool);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Host {
    /// What was measured last, and whether a measurement is under way now. Where the last one is old, one begins.
    #[must_use]
    pub fn space(&self) -> (Option<Space>, bool) {
        let last = self.inner.space.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_new = last.as_ref().is_some_and(|(at, _)| at.elapsed() < OLD);
        if !is_new && !self.inner.space.under_way.swap(true, Ordering::SeqCst) {
            let this = self.clone();
            tokio::spawn(async move {
                let _under_way = UnderWay(&this.inner.space.under_way);
                let Ok(space) = tokio::time::timeout(LIMIT, this.measure()).await else {
                    return tracing::warn!("what takes the disk can't be measured within {} s", LIMIT.as_secs());
                };
                let mut last = this.inner.space.last.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some((Instant::now(), space));
            });
        }
        (last.map(|(_, space)| space), self.inner.space.under_way.load(Ordering::SeqCst))
    }

    async fn measure(&self) -> Space {
        let paths = self.inner.uses.config.get().paths.clone();
        let files =
            tokio::task::spawn_blocking(move || (database_bytes(&paths.store()), journal_bytes(&paths.journals())));
        let (used, nobodys, measured, files) = tokio::join!(
            self.inner.uses.podman.storage_use(),
            self.nobodys_images(),
            self.inner.uses.builds.measure(),
            files
        );
        let told = |what: &str, error: &dyn std::error::Error| tracing::warn!("can't measure {what}: {}", chain(error));
        let used = used.inspect_err(|error| told("Podman's storage", error)).ok();
        let nobodys = nobodys.inspect_err(|error| told("the images that nothing names", error)).ok();
        let measured = measured.inspect_err(|error| told("caches and repositories", error)).ok();
        let nobodys: Option<HashSet<_>> = nobodys.map(|images| images.into_iter().map(|image| image.id).collect());
        let images = used.as_ref().zip(nobodys).map(|(used, nobodys)| {
            let own = used.images.iter().filter(|image| nobodys.contains(&image.id)).map(|image| image.own_bytes);
            Images {
                count: used.images.len() as u64,
                bytes: used.images_bytes,
                unnamed: nobodys.len() as u64,
                unnamed_bytes: own.sum(),
            }
        });
        let (database, journal) = files.unwrap_or_default();
        Space {
            measured: Timestamp::now(),
            images,
            volumes: used.map(|used| Volumes { count: used.volumes, bytes: used.volumes_bytes }),
            repositories: measured.as_ref().map(|measured| measured.repositories),
            caches: measured.map(|measured| measured.caches),
            database,
            journal,
        }
    }
}

/// What a file takes on the disk.
fn bytes(path: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    // stat(2): blocks are counted by 512 bytes, whatever their size.
    Ok(std::fs::symlink_metadata(path)?.blocks().saturating_mul(512))
}

/// The database with the files that SQLite has beside it (sqlite.org, "Temporary Files").
fn database_bytes(path: &Path) -> Option<u64> {
    let beside = ["-wal", "-shm"].map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        bytes(Path::new(&name)).unwrap_or(0)
    });
    Some(bytes(path).ok()? + beside.iter().sum::<u64>())
}

fn journal_bytes(journals: &[PathBuf]) -> Option<u64> {
    let machines = journals.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let files = machines.filter_map(|machine| std::fs::read_dir(machine.path()).ok()).flatten().flatten();
    let all: Vec<u64> = files.take(FILES).filter_map(|file| bytes(&file.path()).ok()).collect();
    (!all.is_empty()).then(|| all.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_measured_with_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        assert_eq!(database_bytes(&path), None);
        for ending in ["", "-wal"] {
            std::fs::write(folder.path().join(format!("store.db{ending}")), vec![1; 100_000]).unwrap();
        }
        assert!(database_bytes(&path).unwrap() >= 200_000);
    }
}
