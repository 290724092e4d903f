//! Why a deployment did not come to its end, and what its row keeps of that.

use thiserror::Error;

use super::explain::ReleaseFacts;
use crate::builds::BuildError;
use crate::git::GitError;
use crate::names::{CommitId, MountError, ReleaseNumber};
use crate::problem::{Code, Problem, chain};
use crate::services::ServiceError;
use crate::store::StoreError;

/// Why a deployment did not come to its end.
#[derive(Debug, Error)]
pub enum DeployError {
    /// A part of the host, or the store.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The new release's unit can't be one.
    #[error("{0}")]
    Start(&'static str),
    /// The new release did not come to answer.
    #[error("the release does not become live")]
    NotLive(Box<ReleaseFacts>),
    /// The volumes that its image declares.
    #[error("the image's volumes can't be had")]
    Volumes(#[from] MountError),
    /// Nothing that its service watches has changed.
    #[error("nothing of {watched} has changed in commit {commit} since release {release} was built; that one goes on")]
    Unchanged {
        /// The commit that was pushed.
        commit: CommitId,
        /// The release that runs.
        release: ReleaseNumber,
        /// What is watched, as it is shown.
        watched: String,
    },
    /// Every port of the range is taken.
    #[error("no port from {first} to {last} is free")]
    NoPort {
        /// The range's first port.
        first: u16,
        /// Its last one.
        last: u16,
    },
    /// What its row says already, from which it only has to be cleared away.
    #[error("{0}")]
    Noted(Problem),
    /// Somebody cancelled it.
    #[error("it was cancelled")]
    Cancelled,
    /// Its row has ended already, by a newer one or by a cancel.
    #[error("its row has ended already")]
    Ended,
}

impl From<StoreError> for DeployError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Ended(_) => Self::Ended,
            error => Self::Service(error.into()),
        }
    }
}

impl From<GitError> for DeployError {
    fn from(error: GitError) -> Self {
        Self::Service(error.into())
    }
}

impl DeployError {
    /// The problem that the deployment's row keeps.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Service(error) => error.problem(),
            Self::Build(error) => error.problem(),
            Self::Start(detail) => {
                Problem::new(Code::StartFailed, *detail).with_hint("look at the agent's log: `journalctl -u podkeeper`")
            }
            Self::NotLive(facts) => facts.explain(None),
            Self::Volumes(_) => Problem::new(Code::StartFailed, chain(self))
                .with_hint("change the VOLUME lines of the Containerfile, or the setting `volumes`"),
            Self::Unchanged { .. } => Problem::new(Code::Unchanged, self.to_string()).with_hint(
                "`podkeeper deploy NAME` builds it all the same; the setting `watch` says which files count",
            ),
            Self::NoPort { .. } => Problem::new(Code::Exhausted, self.to_string())
                .with_hint("widen `services.first_port` to `services.last_port` in the configuration"),
            Self::Noted(problem) => problem.clone(),
            Self::Cancelled | Self::Ended => Problem::cancelled(),
        }
    }

    /// Whether a part of the host was away, so that the same step may well go through once it is back.
    pub(super) fn is_absence(&self) -> bool {
        !matches!(self, Self::Noted(_))
            && matches!(self.problem().code, Code::PodmanUnavailable | Code::SystemdUnavailable)
    }
}
