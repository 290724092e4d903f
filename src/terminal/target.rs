//! Where a session's program runs.

use std::fmt;

use crate::names::ReleaseName;

/// Where a session's program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// In a container of its own.
    Isolated,
    /// In the container of a service's release, with this shell.
    Service(ReleaseName, &'static str),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolated => f.write_str("isolated"),
            Self::Service(release, _) => f.write_str(&release.container()),
        }
    }
}
