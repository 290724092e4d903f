//! Git, by its own program: the repositories that people push to, smart HTTP, and what is fetched from elsewhere.

mod address;
mod announced;
mod backend;
mod branches;
mod changed;
mod command;
mod failure;
mod fetch;
pub mod hook;
mod measure;
mod outcome;
mod pushes;
mod repositories;
mod size;

use std::path::PathBuf;

use thiserror::Error;

pub use backend::{GitRequest, GitResponse};
pub use failure::Failure;
pub use outcome::PushId;
pub use repositories::Repositories;

use crate::names::{BranchName, CommitId};
use crate::problem::{Code, Problem};
use crate::text::Plain;

/// Why git refused.
#[derive(Debug, Error)]
pub enum GitError {
    /// The program can't be run.
    #[error("can't run git")]
    Run(#[source] std::io::Error),
    /// It ended with an error; its own words follow, without paths and secrets.
    #[error("git could not {what}: {message}")]
    Failed {
        /// What was tried, as in "fetch the repository".
        what: &'static str,
        /// Why, as far as it is told.
        why: Failure,
        /// Git's last lines.
        message: Plain,
    },
    /// It took too long.
    #[error("git took longer than {seconds} s to {what}")]
    Slow {
        /// What was tried.
        what: &'static str,
        /// How long it was given.
        seconds: u64,
    },
    /// A file or folder of ours.
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
    /// The branch isn't there, or nothing is on it.
    #[error("the repository has no commit on the branch `{0}`")]
    NoCommits(String),
    /// There is no such commit, or nothing that names it any more.
    #[error("the repository has no commit {0}")]
    NoSuchCommit(CommitId),
    /// The forge's hook has told of a commit that the forge doesn't show.
    #[error(
        "the forge's hook told of the commit {commit}, and {seconds} s later the forge still shows another on `{branch}`"
    )]
    NotShown {
        /// The commit.
        commit: CommitId,
        /// The branch that was to have it.
        branch: BranchName,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A commit of more files than are taken.
    #[error("the commit has more than {0} files and folders, or names that are too long")]
    TooManyFiles(u64),
    /// A commit of larger files than are taken.
    #[error("the commit's files take more than {0} MiB")]
    CheckoutTooLarge(u64),
    /// More than is taken of an external repository.
    #[error("the repository's newest commit is larger than {0} MiB")]
    FetchTooLarge(u64),
    /// The repository takes all that one may.
    #[error("the repository takes {0} MiB, and none takes more")]
    RepositoryFull(u64),
    /// The disk has no room for it.
    #[error("{free} MiB of disk are free, and {needed} must be")]
    Room {
        /// What is free, in MiB.
        free: u64,
        /// What must be, in MiB.
        needed: u64,
    },
    /// The repository lies at an address that isn't allowed.
    #[error("`{host}` leads to {address}, which is not a public address")]
    PrivateAddress {
        /// The host.
        host: String,
        /// The address.
        address: std::net::IpAddr,
    },
    /// The host's name leads nowhere.
    #[error("the host `{0}` can't be found")]
    UnknownHost(String),
    /// What is kept as the address's secret can't be told to git.
    #[error("the password of the repository's address holds what no password does")]
    Credential,
    /// As many as there may be fetch or push.
    #[error("too many fetch or push at once")]
    Busy,
    /// A request that isn't one of git's.
    #[error("this is not a request of git's smart HTTP")]
    NotSmart,
    /// The backend's answer can't be read.
    #[error("git's answer can't be read")]
    Answer,
}

impl GitError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoCommits(branch) => Problem::new(Code::NoCommits, self.to_string())
                .with_hint(format!(
                "push a commit to `{branch}`, or build another branch: `podkeeper settings NAME branch=BRANCH`, or PATCH \
                 /services/NAME"
            )),
            Self::NoSuchCommit(_) => Problem::new(Code::NoCommits, self.to_string())
                .with_hint("push it, or name another one by its whole id: `git rev-parse HEAD` prints it"),
            Self::NotShown { .. } => Problem::new(Code::FetchFailed, self.to_string()).with_hint(
                "deliver it again at the forge, or build what the branch has: `podkeeper deploy NAME`, or POST \
                 /services/NAME/start",
            ),
            Self::TooManyFiles(_) => Problem::new(Code::PayloadTooLarge, self.to_string())
                .with_hint("keep what is downloaded or generated out of the repository, or raise `git.max_files`"),
            Self::CheckoutTooLarge(_) => Problem::new(Code::PayloadTooLarge, self.to_string())
                .with_hint("keep large files out of the repository, or raise `git.max_checkout_mib`"),
            Self::FetchTooLarge(_) => Problem::new(Code::PayloadTooLarge, self.to_string())
                .with_hint("keep large files out of the repository, or raise `git.max_push_mib`"),
            Self::RepositoryFull(_) => Problem::new(Code::PayloadTooLarge, self.to_string()).with_hint(
                "raise `git.max_repository_mib`, or make the service anew and keep large files out of its repository",
            ),
            Self::Room { .. } => Problem::new(Code::DiskFull, self.to_string()).with_hint("free some space, then try again"),
            Self::Failed { why: Failure::NoSpace, .. } => Problem::disk_full(),
            Self::Failed { .. } | Self::Slow { .. } | Self::UnknownHost(_) => {
                Problem::new(Code::FetchFailed, self.to_string())
                    .with_hint(
                        "check the repository's address, and that its password is good, or that the forge has its deploy key: \
                         `podkeeper deploy-key NAME`, or GET /services/NAME/deploy-key, shows it",
                    )
            }
            Self::Credential => Problem::new(Code::FetchFailed, self.to_string())
                .with_hint("remove the service and make it again with a password of one line"),
            Self::PrivateAddress { .. } => Problem::new(Code::FetchFailed, self.to_string())
                .with_hint("set `git.allow_private` in the configuration to allow it"),
            Self::Busy => Problem::new(Code::Busy, self.to_string()).with_hint("try again when another has ended"),
            Self::NotSmart => Problem::new(Code::NotFound, self.to_string()),
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Problem::disk_full(),
            Self::Run(_) | Self::File { .. } | Self::Answer => Problem::new(Code::Internal, "git can't be used"),
        }
    }
}
