//! Why there is no image.

use thiserror::Error;

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
    IgnoreFile(&'static str),
    /// Nothing says how to build it.
    #[error("the repository has no Containerfile, and no recipe fits its files")]
    NoRecipe,
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
            Self::NoRecipe => (
                Code::NoRecipe,
                "add a Containerfile at the top of the repository; `podkeeper recipe` in its folder tells what fits it",
            ),
            Self::Failed(_) => (Code::BuildFailed, "the last lines of the build tell why"),
            Self::TimedOut(_) => (Code::BuildTimeout, "make the build shorter, or raise `builds.timeout`"),
            Self::Vanished => (Code::Interrupted, "deploy again"),
            Self::NoImage => (Code::BuildFailed, "deploy again"),
        };
        Problem::new(code, self.to_string()).with_hint(hint)
    }
}
