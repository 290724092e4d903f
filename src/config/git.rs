//! Pushes and external repositories.

use std::time::Duration;

use serde::Deserialize;

use super::values::duration;

/// Git: pushes and external repositories.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Git {
    /// The largest push, and the most that is fetched of an external repository, in MiB.
    pub max_push_mib: u64,
    /// What a repository may take, whatever was pushed to it and however often, in MiB.
    pub max_repository_mib: u64,
    /// How many branches and tags a repository may have.
    pub max_refs: u64,
    /// How many files and folders a commit may have.
    pub max_files: u64,
    /// What a commit's files may take, in MiB.
    pub max_checkout_mib: u64,
    /// The memory of git and of each program that it starts, in MiB.
    pub memory_mib: u64,
    /// How long fetching an external repository may take.
    #[serde(deserialize_with = "duration")]
    pub fetch_timeout: Duration,
    /// Whether an external repository may lie at a private, loopback or link-local address.
    pub allow_private: bool,
}

impl Default for Git {
    fn default() -> Self {
        Self {
            max_push_mib: 1024,
            max_repository_mib: 4096,
            max_refs: 10_000,
            max_files: 200_000,
            max_checkout_mib: 4096,
            memory_mib: 512,
            fetch_timeout: Duration::from_secs(300),
            allow_private: false,
        }
    }
}
