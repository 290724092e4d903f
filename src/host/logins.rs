//! The logins at registries, with which private images are fetched. They are the whole host's, and no service's: each build
//! has all of them, and so has each `podman` of the service user, whose file they lie in ([`crate::podman`]). What answers
//! requests sees no Podman, and asks for them here.

use secrecy::SecretString;

use super::Host;
use crate::names::RegistryHost;
pub use crate::podman::Login;
use crate::podman::PodmanError;

impl Host {
    /// Where somebody is logged in, and as whom.
    ///
    /// # Errors
    /// Podman's file can't be read.
    pub async fn logins(&self) -> Result<Vec<Login>, PodmanError> {
        self.inner.uses.podman.logins().await
    }

    /// Logs in at a registry, which is asked whether it takes the password.
    ///
    /// # Errors
    /// It takes none of that, or does not answer, or Podman's file can't be written.
    pub async fn log_in(
        &self,
        registry: &RegistryHost,
        username: &str,
        password: &SecretString,
    ) -> Result<(), PodmanError> {
        self.inner.uses.podman.log_in(registry, username, password).await
    }

    /// Forgets a login; false where there is none.
    ///
    /// # Errors
    /// Podman's file can't be written.
    pub async fn log_out(&self, registry: &RegistryHost) -> Result<bool, PodmanError> {
        self.inner.uses.podman.log_out(registry).await
    }
}
