//! Podman's secret store, where the values of variables lie and nowhere else.

use http::Method;
use secrecy::SecretString;
use serde::Deserialize;

use super::raw::{Body, segment};
use super::{Podman, PodmanError};

impl Podman {
    /// Keeps `value` under `name`, which must be new.
    pub async fn create_secret(
        &self,
        name: &str,
        value: &SecretString,
        labels: &[(&str, &str)],
    ) -> Result<(), PodmanError> {
        let labels: serde_json::Map<String, serde_json::Value> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let labels = serde_json::Value::Object(labels).to_string();
        let path = format!("/libpod/secrets/create?name={}&labels={}", segment(name), segment(&labels));
        self.raw("keep a secret", Method::POST, &path, Body::Secret(value)).await.map(drop)
    }

    /// The value under `name`; none where there is none.
    pub async fn reveal_secret(&self, name: &str) -> Result<Option<SecretString>, PodmanError> {
        let what = "show a secret";
        let path = format!("/libpod/secrets/{}/json?showsecret=true", segment(name));
        let body = match self.raw(what, Method::GET, &path, Body::None).await {
            Ok(body) => body,
            Err(PodmanError::Refused { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Shown {
            #[serde(default)]
            secret_data: String,
        }
        let shown: Shown = serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })?;
        Ok(Some(shown.secret_data.into()))
    }

    /// Removes the secret `name`.
    pub async fn remove_secret(&self, name: &str) -> Result<(), PodmanError> {
        self.delete("remove a secret", &format!("/libpod/secrets/{}", segment(name))).await
    }

    /// The names of all secrets that begin with `prefix`.
    pub async fn secrets(&self, prefix: &str) -> Result<Vec<String>, PodmanError> {
        let secrets = self.typed.secrets();
        let all = self.read("list the secrets", secrets.list()).await?;
        let names = all.into_iter().filter_map(|secret| secret.spec.and_then(|spec| spec.name));
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }
}
