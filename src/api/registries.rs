//! Registries of images, and who is logged in there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::SecretText;
use crate::podman;

/// Who logs in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRegistryLogin {
    /// 1 to 255 characters without `:`.
    pub username: String,
    /// A password, or a token that the registry takes in its place.
    pub password: SecretText,
}

/// Who is logged in.
#[derive(Debug, JsonSchema, Serialize)]
pub struct RegistryLogin {
    /// The registry, as images' names begin with it.
    pub registry: String,
    /// The user there.
    pub username: String,
}

impl From<podman::Login> for RegistryLogin {
    fn from(login: podman::Login) -> Self {
        Self { registry: login.registry.into(), username: login.username }
    }
}
