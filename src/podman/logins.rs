//! Logging in at a registry, and out.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::login_file::{LoginFile, failed};
use super::raw::Body;
use super::{Login, Podman, PodmanError};
use crate::names::RegistryHost;

/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Podman {
    /// Keeps the login of `username` once the registry has taken it.
    pub async fn log_in(
        &self,
        registry: &RegistryHost,
        username: &str,
        password: &SecretString,
    ) -> Result<(), PodmanError> {
        let secret = password.expose_secret();
        let asked = json!({ "username": username, "password": secret, "serveraddress": registry });
        let asked = SecretString::from(asked.to_string());
        let asking = self.raw("log in at a registry", Method::POST, "/auth", Body::Secret(&asked));
        let refused = |reason: &str| PodmanError::Login { registry: registry.clone(), reason: reason.into() };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(_)) => {}
            Ok(Err(PodmanError::Refused { message, .. })) => {
                return Err(refused(
                    message.rsplit_once("failed with status: ").map_or(&*message, |(_, reason)| reason),
                ));
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(refused("it does not answer")),
        }
        let auth = BASE64_STANDARD.encode(format!("{username}:{secret}"));
        self.change_logins(registry, Some(json!({ "auth": auth }))).await.map(drop)
    }

    /// Forgets the login at a registry; false where there was none.
    pub async fn log_out(&self, registry: &RegistryHost) -> Result<bool, PodmanError> {
        self.change_logins(registry, None).await
    }

    async fn change_logins(&self, registry: &RegistryHost, login: Option<Value>) -> Result<bool, PodmanError> {
        let registry = registry.clone();
        self.with_logins(move |logins| logins.set(&registry, login)).await
    }

    /// Who is logged in where, by registry.
    pub async fn logins(&self) -> Result<Vec<Login>, PodmanError> {
        self.with_logins(LoginFile::list).await
    }

    async fn with_logins<T: Send + 'static>(
        &self,
        f: impl FnOnce(&LoginFile) -> Result<T, PodmanError> + Send + 'static,
    ) -> Result<T, PodmanError> {
        let logins = Arc::clone(&self.logins);
        let done = tokio::task::spawn_blocking(move || f(&logins)).await;
        done.unwrap_or_else(|error| Err(failed("read")(std::io::Error::other(error))))
    }
}
