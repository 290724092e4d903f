//! Podman's REST socket: images, containers, secrets, volumes. The only module that names podman-api's types.
//!
//! podman-api makes the typed reads. What it does wrong (it quotes secrets, it holds whole archives in memory), or lacks,
//! goes through `raw`, a small client on the same socket.

mod check;
mod containers;
mod images;
mod layers;
mod listening;
mod logins;
mod raw;
mod refusal;
mod secrets;
mod shells;
mod storage;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

pub use check::run_check;
pub use containers::{CheckRun, ContainerFacts, ExternalContainer, Health, Traffic};
pub use images::{ImageFacts, StoredImage};
pub use listening::{Listening, tell_listening};
pub use logins::Login;
pub use refusal::Refusal;
pub use shells::ShellContainer;
pub use storage::{ImageUse, StorageUse};

use crate::names::{HostVolume, RegistryHost, ServiceName};
use crate::problem::{Code, Problem, chain};
use crate::text::Plain;
use logins::Logins;

/// How long a call may take. Copying a large image into another range of ids is the longest.
const LIMIT: Duration = Duration::from_secs(120);

/// Why Podman refused.
#[derive(Debug, Error)]
pub enum PodmanError {
    /// Nobody answers on the socket.
    #[error("Podman does not answer on its socket")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Podman answered with an error.
    #[error("Podman refused to {what}: {message}")]
    Refused {
        /// What was asked, as in "remove the image".
        what: &'static str,
        /// Why, as far as it is told.
        why: Refusal,
        /// Podman's own words.
        message: Plain,
    },
    /// A registry doesn't take a login, or doesn't answer.
    #[error("no login at {registry}: {reason}")]
    Login {
        /// The registry.
        registry: RegistryHost,
        /// Podman's own words, which may be the registry's.
        reason: Plain,
    },
    /// The file of the logins.
    #[error("can't {what} the logins at registries")]
    Logins {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The disk has too little room for it.
    #[error("there is too little room on the disk to {what}")]
    Full {
        /// What was asked.
        what: &'static str,
    },
    /// Something in its storage is of no use, and only a host that rests can be rid of it.
    #[error("{0} layers in Podman's storage are what a program left that was killed, and no image is made of them")]
    Layers(usize),
    /// An answer that can't be read.
    #[error("Podman's answer to {what} can't be read")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl PodmanError {
    fn refused(what: &'static str, status: u16, message: String) -> Self {
        Self::Refused { what, why: Refusal::of(status, &message), message: message.into() }
    }

    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Unavailable(_) => Problem::new(Code::PodmanUnavailable, self.to_string())
                .with_hint("`podkeeper doctor` on the host tells what is wrong"),
            Self::Login { .. } => Problem::new(Code::LoginFailed, self.to_string())
                .with_hint("look at the registry's name, the user and the password; nothing was changed"),
            Self::Logins { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Problem::disk_full(),
            Self::Logins { .. } => Problem::new(Code::Internal, self.to_string())
                .with_hint("the agent's log tells why: `journalctl -u podkeeper`"),
            Self::Refused { why: Refusal::NoSpace, .. } | Self::Full { .. } => Problem::disk_full(),
            Self::Refused { what, .. } => Problem::new(Code::Internal, format!("Podman refused to {what}"))
                .with_hint("the agent's log has Podman's own words: `journalctl -u podkeeper`"),
            Self::Layers(_) => Problem::new(Code::Internal, self.to_string()).with_hint(
                "when nothing is built, started or pulled, `podman system check --quick --repair` as the user podkeeper \
                 removes them",
            ),
            Self::Answer { .. } => Problem::new(Code::Internal, self.to_string()),
        }
    }
}

/// Podman.
#[derive(Clone)]
pub struct Podman {
    typed: podman_api::Podman,
    socket: Arc<PathBuf>,
    logins: Arc<Logins>,
    /// Where its storage lies, once it was asked.
    storage: Arc<tokio::sync::OnceCell<PathBuf>>,
}

impl std::fmt::Debug for Podman {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Podman").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Podman {
    /// Podman behind the REST socket at `socket`, whose logins at registries are in the file `logins`.
    #[must_use]
    pub fn new(socket: PathBuf, logins: PathBuf) -> Self {
        let logins = Arc::new(Logins::new(logins));
        Self { typed: podman_api::Podman::unix(&socket), socket: Arc::new(socket), logins, storage: Arc::default() }
    }

    /// A typed read, bounded in time.
    async fn read<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, podman_api::Error>>,
    ) -> Result<T, PodmanError> {
        match tokio::time::timeout(LIMIT, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(podman_api::Error::Fault { code, message })) => {
                Err(PodmanError::refused(what, code.as_u16(), message))
            }
            // The text is kept and not the error itself, whose `clone` never ends.
            Ok(Err(error)) => Err(PodmanError::Unavailable(Some(chain(&error).into()))),
            Err(_) => Err(PodmanError::Unavailable(None)),
        }
    }

    /// Podman's version, as in `5.4.2`.
    pub async fn version(&self) -> Result<String, PodmanError> {
        let report = self.read("tell its version", self.typed.version()).await?;
        Ok(report.version.unwrap_or_default())
    }

    /// The volumes of a service.
    pub async fn volumes(&self, service: &ServiceName) -> Result<Vec<HostVolume>, PodmanError> {
        let volumes = self.typed.volumes();
        let options = podman_api::opts::VolumeListOpts::default();
        let all = self.read("list the volumes", volumes.list(&options)).await?;
        let names = all.into_iter().filter_map(|volume| volume.name.parse::<HostVolume>().ok());
        Ok(names.filter(|volume| volume.service().as_ref() == Some(service)).collect())
    }

    /// Removes a volume with its content.
    pub async fn remove_volume(&self, volume: &HostVolume) -> Result<(), PodmanError> {
        self.delete("remove the volume", &format!("/libpod/volumes/{}", raw::segment(volume.as_str()))).await
    }

    /// Deletes what `path` names. What isn't there is fine.
    async fn delete(&self, what: &'static str, path: &str) -> Result<(), PodmanError> {
        match self.raw(what, http::Method::DELETE, path, raw::Body::None).await {
            Err(PodmanError::Refused { why: Refusal::NotFound, .. }) => Ok(()),
            other => other.map(drop),
        }
    }
}
