//! systemd: the service user's manager over D-Bus, and the Quadlet files that its generator reads. The only module that
//! names zbus's types.

mod argv;
mod build;
mod bus;
pub mod check;
mod files;
mod once;
mod paths;
pub mod quadlet;
mod spec;
mod states;
mod watch;

use std::path::PathBuf;

use thiserror::Error;

pub use argv::{Argv, own_program};
pub use build::{BuildOutcome, BuildUnit};
pub use bus::{JobResult, UnitFacts, UnitListing, UserManager};
pub use check::CheckFiles;
pub use files::{QuadletFile, Quadlets};
pub use once::Limits;
pub use quadlet::RELEASE_ADDRESS;
pub use spec::{CheckSpec, ContainerSpec};
pub use states::{ActiveState, LoadState, ServiceResult, SubState};
pub use watch::{UnitChange, UnitChanges, UnitWatch};

use crate::names::{AbsPath, SettingError};
use crate::problem::{Code, Problem};

/// Why systemd or a unit file refused.
#[derive(Debug, Error)]
pub enum UnitsError {
    /// The manager's bus isn't there.
    #[error("the service user's systemd manager does not answer")]
    Unavailable(#[source] Option<Box<zbus::Error>>),
    /// The manager refused a call.
    #[error("systemd refused `{call}`")]
    Refused {
        /// The method.
        call: &'static str,
        /// What it said.
        #[source]
        source: Box<zbus::Error>,
    },
    /// A call or a job didn't end in its time.
    #[error("systemd did not end `{what}` in its time")]
    Slow {
        /// The method, or the job's unit.
        what: String,
    },
    /// An argument that no program gets.
    #[error("an argument of `{0}` holds a control character")]
    Argument(AbsPath),
    /// A path that no unit gets.
    #[error(transparent)]
    Path(#[from] SettingError),
    /// A unit's file.
    #[error("can't {what} `{path}`")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl UnitsError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Unavailable(_) => Problem::new(Code::SystemdUnavailable, self.to_string())
                .with_hint("`podkeeper doctor` on the host tells what is wrong"),
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Problem::disk_full(),
            Self::File { .. } => Problem::new(Code::Internal, "a unit's file could not be written"),
            Self::Argument(_) | Self::Path(_) => Problem::new(Code::Internal, self.to_string()),
            Self::Refused { .. } | Self::Slow { .. } => Problem::new(Code::SystemdUnavailable, self.to_string()),
        }
    }
}
