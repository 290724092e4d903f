//! Why there is no image.

use thiserror::Error;

use super::file_fault::FileFault;
use super::near_miss::NearMiss;
use crate::names::{BuildName, RepoPath};
use crate::podman::PodmanError;
use crate::problem::{Code, Problem};
use crate::units::UnitsError;

/// Why there is no image.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Podman.
    #[error(transparent)]
    Podman(#[from] PodmanError),
    /// systemd.
    #[error(transparent)]
    Units(#[from] UnitsError),
    /// The build's folder.
    #[error("can't {what}")]
    Folder {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Too little space.
    #[error("{free} MiB of disk are free, and a build needs {needed}")]
    Space {
        /// What is free, in MiB.
        free: u64,
        /// What must be, in MiB.
        needed: u64,
    },
    /// A file that says what isn't part of the build is a link to somewhere.
    #[error("`{0}` must be a file of the repository, no link that leads out of it")]
    IgnoreFile(String),
    /// Nothing says how to build it.
    #[error("the repository has no Containerfile, and no recipe fits its files{}", told(.0.as_ref()))]
    NoRecipe(Option<NearMiss>),
    /// The folder that is to be built isn't there.
    #[error("the setting `root` names `{0}`, and the repository has no such folder")]
    NoRoot(RepoPath),
    /// The file that is to say how isn't there.
    #[error("the setting `containerfile` names `{path}`, and there is no such file{}", told(.near_miss.as_ref()))]
    NoContainerfile {
        /// Its path, from the folder on that is built.
        path: RepoPath,
        /// What may have been meant.
        near_miss: Option<NearMiss>,
    },
    /// What the repository says of its settings can't be meant.
    #[error("`{path}`{fault}")]
    RepositoryFile {
        /// Its path in the repository.
        path: RepoPath,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// A variable that is to be an argument holds what none can.
    #[error("the value of `{0}` has more than one line, which no build argument can have")]
    LongArgument(BuildName),
    /// A step failed.
    #[error("the build ended with status {0}")]
    Failed(i32),
    /// It took too long.
    #[error("the build took longer than {0} s")]
    TimedOut(u64),
    /// Its unit is gone, because the host or its manager was restarted.
    #[error("the build was cut off by a restart of the host")]
    Vanished,
    /// It succeeded, and its image isn't there.
    #[error("the build left no image")]
    NoImage,
}

fn told(miss: Option<&NearMiss>) -> String {
    miss.map_or_else(String::new, |miss| format!("; {miss}"))
}

impl BuildError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Self::Podman(error) => return error.problem(),
            Self::Units(error) => return error.problem(),
            Self::Folder { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                (Code::DiskFull, "free some space, then deploy again")
            }
            Self::Folder { .. } => (Code::Internal, "look at the agent's log: `journalctl -u podkeeper`"),
            Self::Space { .. } => (Code::DiskFull, "free some space, then deploy again"),
            Self::IgnoreFile(_) => (Code::BuildFailed, "commit it as a file"),
            Self::NoRecipe(Some(miss)) => {
                return Problem::new(Code::NoRecipe, self.to_string()).with_hint(miss.hint());
            }
            Self::NoRecipe(None) => (
                Code::NoRecipe,
                "add a Containerfile at the top of the repository; `podkeeper recipe` in its folder tells what fits it",
            ),
            Self::NoRoot(_) => (Code::NoRecipe, "`root` takes a folder's path from the repository's top on"),
            Self::NoContainerfile { near_miss: Some(miss), .. } => {
                return Problem::new(Code::NoRecipe, self.to_string()).with_hint(miss.hint());
            }
            Self::NoContainerfile { .. } => {
                (Code::NoRecipe, "`containerfile` takes a file's path from the folder on that `root` names")
            }
            Self::RepositoryFile { .. } => (
                Code::InvalidSetting,
                "mend it, commit and push; GET /schemas/podkeeper.toml.json describes all that it may say",
            ),
            Self::LongArgument(_) => (Code::BuildFailed, "give it to the build as a secret, with `build_secrets`"),
            Self::Failed(_) => (Code::BuildFailed, "the last lines of the build tell why"),
            Self::TimedOut(_) => (Code::BuildTimeout, "make the build shorter, or raise `builds.timeout`"),
            Self::Vanished => (Code::Interrupted, "deploy again"),
            Self::NoImage => (Code::BuildFailed, "deploy again"),
        };
        Problem::new(code, self.to_string()).with_hint(hint)
    }
}
