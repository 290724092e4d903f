//! Git, by its own program: the repositories that people push to, smart HTTP, and what is fetched from elsewhere.

mod address;
mod announced;
mod backend;
mod branches;
mod changed;
mod checkout;
mod command;
mod failure;
mod faults;
mod fetch;
mod forge_objects;
pub mod hook;
mod host_keys;
mod keys;
mod measure;
mod modules;
mod objects;
mod outcome;
mod pointers;
mod probe;
mod pushes;
mod remote;
mod remote_branches;
mod repositories;
mod size;
mod submodules;
mod web;

use std::path::PathBuf;

use thiserror::Error;

pub use backend::{GitRequest, GitResponse};
pub use failure::Failure;
pub use fetch::Fetched;
pub use host_keys::{HostKeys, ShownKey};
pub use outcome::PushId;
pub use repositories::Repositories;
pub use submodules::External;

use crate::names::{BranchName, CommitId, Fingerprint, UriError};
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
    /// The branch isn't there, and others are.
    #[error("the repository has no branch `{branch}`; it has {there}")]
    NoSuchBranch {
        /// The branch.
        branch: String,
        /// Some that are there.
        there: String,
    },
    /// Nobody said which branch, and the repository does not.
    #[error("the repository says not which of its branches is its own, or has none")]
    NoHead,
    /// Something is at the address, or nothing, and no repository.
    #[error("there is no git repository at `{0}`")]
    NoRepository(String),
    /// The forge lets nobody read it, or not this one.
    #[error("the forge lets nobody read `{0}` without the right password or token")]
    NotAllowed(String),
    /// The forge leads elsewhere.
    #[error("`{from}` leads on to `{to}`, which is no repository that may be fetched in its place")]
    Elsewhere {
        /// What was asked for.
        from: String,
        /// Where the forge leads.
        to: Plain,
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
    /// A commit of more submodules than are taken.
    #[error("the commit has more than {most} submodules, or they lie deeper than {depth} in each other")]
    TooManySubmodules {
        /// How many are taken.
        most: usize,
        /// How deep.
        depth: usize,
    },
    /// Submodules that can't be had, by their paths.
    #[error("these submodules can't be had, and their files would be missing: `{0}`")]
    Submodules(String),
    /// A submodule's address that is not allowed.
    #[error("its address in `.gitmodules` can't be fetched from here")]
    SubmoduleUri(#[source] UriError),
    /// A larger file of Git LFS than is taken.
    #[error("a file of Git LFS has at most {0} MiB here")]
    ObjectTooLarge(u64),
    /// What came is not the file of Git LFS that was announced.
    #[error("what came is not the file that was announced, or did not come whole")]
    WrongObject,
    /// A host that shows no ssh key.
    #[error("`{0}` shows no ssh key")]
    NoHostKey(String),
    /// A host that shows other ssh keys than the one that was named.
    #[error("`{host}` shows no ssh key with the fingerprint {fingerprint}")]
    OtherHostKey {
        /// The host.
        host: String,
        /// What was named.
        fingerprint: Fingerprint,
    },
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
    /// Whether git failed at a forge for a reason that it tells in words only, or found nothing, as it does in a page that is
    /// no repository.
    fn is_of_the_forge(&self) -> bool {
        matches!(self, Self::Failed { why: Failure::Other, .. } | Self::NoCommits(_) | Self::NoHead)
    }

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
            Self::NoSuchBranch { .. } => Problem::new(Code::NoCommits, self.to_string()).with_hint(
                "build one that is there: `podkeeper settings NAME branch=BRANCH`, or PATCH /services/NAME",
            ),
            Self::NoHead => Problem::new(Code::NoCommits, self.to_string()).with_hint(
                "say which branch: `podkeeper settings NAME branch=BRANCH`, or PATCH /services/NAME; where there is none, push one",
            ),
            Self::Failed { why: Failure::BadObject, .. } => Problem::new(Code::FetchFailed, self.to_string()).with_hint(
                "its history holds objects that could harm whoever reads them; `git fsck --strict` in a clone lists them",
            ),
            Self::Failed { why: Failure::HostKey, .. } => Problem::new(Code::FetchFailed, self.to_string()).with_hint(
                "who answers there has another ssh key than before; `podkeeper host-key NAME` shows both, and takes the new one \
                 where the forge says that it is its own",
            ),
            Self::NoRepository(_) => Problem::new(Code::FetchFailed, self.to_string()).with_hint(
                "check the address, `podkeeper source NAME --from URI` changes it; a private repository that is read without a \
                 password may look the same",
            ),
            Self::NotAllowed(_) => Problem::new(Code::FetchFailed, self.to_string()).with_hint(
                "give another: `podkeeper source NAME --password-file FILE`, or PATCH /services/NAME with `external`",
            ),
            Self::Elsewhere { .. } => Problem::new(Code::FetchFailed, self.to_string())
                .with_hint("give the repository's own address: `podkeeper source NAME --from URI`"),
            Self::Failed { .. } | Self::Slow { .. } | Self::UnknownHost(_) => {
                Problem::new(Code::FetchFailed, self.to_string())
                    .with_hint(
                        "check the repository's address, and that its password is good, or that the forge has its deploy key: \
                         `podkeeper deploy-key NAME`, or GET /services/NAME/deploy-key, shows it",
                    )
            }
            Self::Credential => Problem::new(Code::FetchFailed, self.to_string())
                .with_hint("give a password of one line: `podkeeper source NAME --password-file FILE`"),
            Self::PrivateAddress { .. } => Problem::new(Code::FetchFailed, self.to_string())
                .with_hint("set `git.allow_private` in the configuration to allow it"),
            Self::TooManySubmodules { .. } => Problem::new(Code::PayloadTooLarge, self.to_string())
                .with_hint("commit the files of some of them into the repository itself"),
            Self::Submodules(_) => Problem::new(Code::FetchFailed, self.to_string()).with_hint(
                "give each a public https address in `.gitmodules`, or commit its files into the repository itself; for one \
                 whose files are not needed set `update = none` there. The lines before say why each can't be had",
            ),
            Self::SubmoduleUri(_) => Problem::new(Code::FetchFailed, self.to_string()),
            Self::ObjectTooLarge(_) => Problem::new(Code::PayloadTooLarge, self.to_string())
                .with_hint("make the file smaller, or raise `git.max_push_mib`"),
            Self::WrongObject => {
                Problem::new(Code::BadRequest, self.to_string()).with_hint("push again: `git lfs push --all REMOTE`")
            }
            Self::NoHostKey(_) => Problem::new(Code::FetchFailed, self.to_string())
                .with_hint("check the repository's address, and that ssh answers there"),
            Self::OtherHostKey { .. } => Problem::new(Code::Conflict, self.to_string())
                .with_hint("`podkeeper host-key NAME`, or GET /services/NAME/host-key, shows which it has"),
            Self::Busy => Problem::new(Code::Busy, self.to_string()).with_hint("try again when another has ended"),
            Self::NotSmart => Problem::new(Code::NotFound, self.to_string()),
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Problem::disk_full(),
            Self::Run(_) | Self::File { .. } | Self::Answer => Problem::new(Code::Internal, "git can't be used"),
        }
    }
}
