//! What builds may use, and what is kept of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::duration;
use crate::names::Network;

/// Builds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Builds {
    /// How many run at once.
    pub parallel: u32,
    /// How long one may take.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// Disk space that must be free before one starts, in MiB.
    pub min_free_mib: u64,
    /// When a base is fetched anew that is there already.
    pub pull: Pull,
    /// Networks that a build reaches beside the internet.
    pub allow: Vec<Network>,
    /// How long bases, steps and cache mounts are kept behind a service's last build, and images that nothing names.
    #[serde(deserialize_with = "duration")]
    pub keep_cache: Duration,
    /// How much of them is kept, of all services together, in MiB.
    pub cache_mib: u64,
}

impl Default for Builds {
    fn default() -> Self {
        Self {
            parallel: 1,
            timeout: Duration::from_secs(900),
            memory_mib: 1024,
            min_free_mib: 512,
            pull: Pull::default(),
            allow: Vec::new(),
            keep_cache: Duration::from_secs(7 * 24 * 3600),
            cache_mib: 8192,
        }
    }
}

/// When a base that is there already is fetched anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// Where its registry has a newer one. One whose registry doesn't answer is taken as it is.
    #[default]
    Newer,
    /// Never.
    Missing,
}

impl Pull {
    /// As buildah takes it (buildah-build(1), `--pull`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newer => "newer",
            Self::Missing => "missing",
        }
    }
}
