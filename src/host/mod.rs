//! The host itself: how full it is and of what, what it has of everything's versions, and what nothing names any more.

mod facts;
mod leftovers;
mod logins;
mod measure;
mod noted;
mod ready;
mod space;
mod uses;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use facts::{Disk, Memory, Versions};
pub use space::{Images, Space, Volumes};
pub use uses::Uses;

/// How old versions may be that are told. They change with an upgrade.
const VERSIONS: Duration = Duration::from_secs(300);

/// The host. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    uses: Uses,
    started: Timestamp,
    versions: Mutex<Option<(Instant, Versions)>>,
    space: space::SpaceMeasurement,
}

impl Host {
    /// The host that these parts look at.
    #[must_use]
    pub fn new(uses: Uses) -> Self {
        let (started, versions) = (Timestamp::now(), Mutex::default());
        Self { inner: Arc::new(Inner { uses, started, versions, space: space::SpaceMeasurement::default() }) }
    }

    /// Since when the agent runs.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.inner.started
    }

    /// The disk of the agent's state, and the one of Podman's storage; none where it can't be looked at.
    pub async fn disks(&self) -> (Option<Disk>, Option<Disk>) {
        let state = self.inner.uses.config.get().paths.state.to_path_buf();
        let storage = self.inner.uses.podman.storage("tell where its storage lies").await;
        let storage = storage.ok().map(std::path::Path::to_owned);
        // A disk that is away may not answer.
        let both = tokio::task::spawn_blocking(move || (Disk::of(&state), storage.as_deref().and_then(Disk::of)));
        tokio::time::timeout(facts::LIMIT, both).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The memory.
    pub async fn memory(&self) -> Option<Memory> {
        Memory::read().await
    }

    /// The versions of what the host runs.
    pub async fn versions(&self) -> Versions {
        let mut known = self.inner.versions.lock().await;
        match &*known {
            Some((at, versions)) if at.elapsed() < VERSIONS && versions.are_whole() => versions.clone(),
            _ => {
                let versions = Versions::ask(&self.inner.uses).await;
                *known = Some((Instant::now(), versions.clone()));
                versions
            }
        }
    }
}
