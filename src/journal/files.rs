//! The journal's files, opened together, and whether others have come.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use systemd::journal::{Journal as Handle, OpenDirectoryOptions, OpenOptions};

use super::JournalError;
use super::matches::Source;
use crate::config::system::JOURNALS;

/// A folder that changed so lately may change again without its time telling: that moves in ticks.
const TICK: Duration = Duration::from_millis(30);
/// How often the files are opened anew where they change meanwhile.
const TRIES: usize = 20;

/// The journal's files, and what their folders looked like when they were opened.
#[derive(Clone)]
pub(super) struct Files {
    folder: Option<PathBuf>,
    /// Each folder, and when it changed last.
    stamp: Vec<(PathBuf, Option<SystemTime>)>,
}

impl Files {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_owned), stamp: Vec::new() }
    }

    /// Remembers how the folders are.
    fn look(&mut self) {
        let roots = match &self.folder {
            Some(folder) => vec![folder.clone()],
            None => JOURNALS.map(PathBuf::from).into(),
        };
        // Before what is in them, so that what comes meanwhile is a change.
        let roots: Vec<_> = roots.into_iter().map(stamped).collect();
        let within = |root: &PathBuf| std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let below = roots.iter().flat_map(|(root, _)| within(root)).filter(|path| path.is_dir()).map(stamped);
        self.stamp = below.chain(roots.iter().cloned()).collect();
    }

    /// Whether files have come or gone since.
    pub(super) fn changed(&self) -> bool {
        self.stamp.iter().any(|(path, at)| changed(path) != *at)
    }

    /// How long until a change will be told by a folder's time.
    fn settling(&self) -> Duration {
        let now = SystemTime::now();
        // A time to come is one that tells.
        let age = |at: &SystemTime| now.duration_since(*at).unwrap_or(TICK);
        let youngest = self.stamp.iter().filter_map(|(_, at)| at.as_ref().map(age)).min();
        TICK.saturating_sub(youngest.unwrap_or(TICK))
    }

    /// Opens all files that are there. One that is renamed while they are listed may be missed, so none may have come or
    /// gone meanwhile.
    pub(super) fn open(&mut self, source: &Source) -> Result<Handle, JournalError> {
        for _ in 0..TRIES {
            self.look();
            std::thread::sleep(self.settling());
            let handle = self.open_once(source)?;
            if !self.changed() {
                return Ok(handle);
            }
        }
        Err(read(std::io::Error::other("the journal's files change all the time")))
    }

    /// Those that are found, whatever happens to them meanwhile.
    pub(super) fn open_once(&self, source: &Source) -> Result<Handle, JournalError> {
        let mut handle = match &self.folder {
            Some(folder) => OpenDirectoryOptions::default().open_directory(folder.to_string_lossy().into_owned()),
            None => OpenOptions::default().system(true).current_user(true).local_only(true).open(),
        }
        .map_err(read)?;
        // Whole fields, however long.
        handle.set_data_threshold(0).map_err(read)?;
        source.add(&mut handle).map_err(read)?;
        Ok(handle)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn stamped(path: PathBuf) -> (PathBuf, Option<SystemTime>) {
    let at = changed(&path);
    (path, at)
}

/// Why it can't be read, as libsystemd tells.
pub(super) fn read(error: impl Into<std::io::Error>) -> JournalError {
    JournalError::Read(error.into())
}
