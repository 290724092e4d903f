//! Pushes under way, by their repositories. Git keeps what a push brings in a folder of its own until it is taken, and
//! leaves it there where it is ended from outside: of a push that was cut off it goes when none is under way there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What the names of those folders begin with (tmp-objdir.c).
const INCOMING: &[u8] = b"tmp_objdir-incoming-";

/// How many pushes are under way, by the repository's folder of objects.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    running: Mutex<HashMap<PathBuf, usize>>,
}

/// A push under way, until it is dropped. Nothing of git runs for it any more then.
#[derive(Debug)]
pub(super) struct Push {
    objects: PathBuf,
    pushes: Arc<Pushes>,
}

impl Pushes {
    /// Begins a push to the repository with this folder of objects. What an agent that was killed has left there goes, too.
    pub(super) async fn begin(self: &Arc<Self>, objects: PathBuf) -> Option<Push> {
        let pushes = Arc::clone(self);
        let begun = move || {
            pushes.count(objects.clone(), |count| count + 1);
            Push { objects, pushes }
        };
        // It is never cancelled: there is none only as the whole agent ends.
        tokio::task::spawn_blocking(begun).await.ok()
    }

    /// Whether one is under way to the repository with this folder of objects.
    pub(super) fn is_running(&self, objects: &Path) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).contains_key(objects)
    }

    /// As long as none is under way, nothing is there: what is left goes before the first begins, and behind the last.
    fn count(&self, objects: PathBuf, change: impl Fn(usize) -> usize) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let before = running.remove(&objects).unwrap_or_default();
        let after = change(before);
        if before == 0 || after == 0 {
            clear(&objects);
        }
        if after > 0 {
            running.insert(objects, after);
        }
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.pushes.count(std::mem::take(&mut self.objects), |count| count.saturating_sub(1));
    }
}

fn clear(objects: &Path) {
    // Large files of Git LFS that are not whole yet.
    for entry in std::fs::read_dir(objects.with_file_name("lfs").join("incoming")).into_iter().flatten().flatten() {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!("what a push has left can't be removed: {error}");
        }
    }
    for entry in std::fs::read_dir(objects).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(INCOMING)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!("what a push has left can't be removed: {error}");
        }
    }
}
