//! The logins at registries, with which private images are fetched.

use secrecy::SecretString;

use super::Host;
use crate::names::RegistryHost;
pub use crate::podman::Login;
use crate::podman::PodmanError;

impl Host {
    /// Where somebody is logged in, and as whom.
    pub async fn logins(&self) -> Result<Vec<Login>, PodmanError> {
        self.inner.uses.podman.logins().await
    }

    /// Logs in at a registry, which is asked whether it takes the password.
    pub async fn log_in(
        &self,
        registry: &RegistryHost,
        username: &str,
        password: &SecretString,
    ) -> Result<(), PodmanError> {
        self.inner.uses.podman.log_in(registry, username, password).await
    }

    /// Forgets a login; false where there is none.
    pub async fn log_out(&self, registry: &RegistryHost) -> Result<bool, PodmanError> {
        self.inner.uses.podman.log_out(registry).await
    }
}
