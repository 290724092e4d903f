//! Podman's secret store, where the values of variables lie and nowhere else.

use std::path::Path;

use http::Method;
use nix::sys::statvfs::statvfs;
use secrecy::SecretString;
use serde::Deserialize;

use super::raw::{Body, segment};
use super::{Podman, PodmanError, Refusal};
use crate::names::SecretName;

/// How much room on the disk a change of the secrets takes, beside what they take already.
const ROOM: u64 = 8 * 1024 * 1024;

impl Podman {
    /// Whether the secrets may be changed. Podman writes all of them anew for each change, over the old ones: on a full
    /// disk the values of every service would be gone.
    async fn check_room(&self, what: &'static str) -> Result<(), PodmanError> {
        let folder = self.storage(what).await?.join("secrets");
        if has_room(&folder) { Ok(()) } else { Err(PodmanError::Full { what }) }
    }

    /// Keeps `value` under `name`, which must be new.
    pub async fn create_secret(
        &self,
        name: &SecretName,
        value: &SecretString,
        labels: &[(&str, &str)],
    ) -> Result<(), PodmanError> {
        let what = "keep a secret";
        self.check_room(what).await?;
        let labels: serde_json::Map<String, serde_json::Value> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let labels = serde_json::Value::Object(labels).to_string();
        let path = format!("/libpod/secrets/create?name={}&labels={}", segment(name.as_str()), segment(&labels));
        self.raw(what, Method::POST, &path, Body::Secret(value)).await.map(drop)
    }

    /// The value under `name`; none where there is none.
    pub async fn reveal_secret(&self, name: &SecretName) -> Result<Option<SecretString>, PodmanError> {
        let what = "show a secret";
        let path = format!("/libpod/secrets/{}/json?showsecret=true", segment(name.as_str()));
        let body = match self.raw(what, Method::GET, &path, Body::None).await {
            Ok(body) => body,
            Err(PodmanError::Refused { why: Refusal::NotFound, .. }) => return Ok(None),
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
    pub async fn remove_secret(&self, name: &SecretName) -> Result<(), PodmanError> {
        let what = "remove a secret";
        self.check_room(what).await?;
        self.delete(what, &format!("/libpod/secrets/{}", segment(name.as_str()))).await
    }

    /// The secrets of ours whose names begin with `prefix`.
    pub async fn secrets(&self, prefix: &str) -> Result<Vec<SecretName>, PodmanError> {
        let secrets = self.typed.secrets();
        let all = self.read("list the secrets", secrets.list()).await?;
        let names = all.into_iter().filter_map(|secret| secret.spec.and_then(|spec| spec.name));
        Ok(names.filter(|name| name.starts_with(prefix)).filter_map(|name| name.parse().ok()).collect())
    }
}

/// What can't be looked at is Podman's to judge.
fn has_room(folder: &Path) -> bool {
    let written = std::fs::metadata(folder.join("filedriver/secretsdata.json")).map_or(0, |file| file.len());
    // Without any secret there is no folder yet.
    let disk = statvfs(folder).or_else(|_| statvfs(folder.parent().unwrap_or(folder)));
    disk.map_or(true, |disk| disk.blocks_available().saturating_mul(disk.fragment_size()) >= ROOM + written)
}
