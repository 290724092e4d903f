//! The client: podman-api's for the typed reads, and what they have in common.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::PodmanError;
use super::login_file::LoginFile;
use crate::problem::chain;

/// How long a call may take. Copying a large image into another range of ids is the longest.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// Podman.
#[derive(Clone)]
pub struct Podman {
    pub(super) typed: podman_api::Podman,
    pub(super) socket: Arc<PathBuf>,
    pub(super) logins: Arc<LoginFile>,
    /// Where its storage lies, once it was asked.
    pub(super) storage: Arc<tokio::sync::OnceCell<PathBuf>>,
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
        let logins = Arc::new(LoginFile::new(logins));
        Self { typed: podman_api::Podman::unix(&socket), socket: Arc::new(socket), logins, storage: Arc::default() }
    }

    /// A typed read, bounded in time.
    pub(super) async fn read<T>(
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
}
