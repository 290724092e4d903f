//! Podman's storage: where it lies, what takes how much of it, and the volumes that Podman named itself.

use std::path::Path;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::raw::{Body, segment};
use super::{Podman, PodmanError};
use crate::names::{HostVolume, ImageId};

/// What Podman's images and volumes take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageUse {
    /// The images.
    pub images: Vec<ImageUse>,
    /// All of them in bytes, what several have in common counted once.
    pub images_bytes: u64,
    /// How many volumes there are.
    pub volumes: u64,
    /// What they hold, in bytes.
    pub volumes_bytes: u64,
}

/// What an image takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Its id.
    pub id: ImageId,
    /// What it has for itself, in bytes.
    pub own_bytes: u64,
}

impl Podman {
    /// The folder of its storage.
    pub async fn storage(&self, what: &'static str) -> Result<&Path, PodmanError> {
        #[derive(Deserialize)]
        struct Info {
            store: Store,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Store {
            graph_root: std::path::PathBuf,
        }
        let asked = self.storage.get_or_try_init(|| async {
            let body = self.raw(what, Method::GET, "/libpod/info", Body::None).await?;
            let info: Info = serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })?;
            Ok(info.store.graph_root)
        });
        asked.await.map(std::path::PathBuf::as_path)
    }

    /// What takes how much of it. Podman walks all volumes for it.
    pub async fn storage_use(&self) -> Result<StorageUse, PodmanError> {
        let what = "tell what takes its storage";
        let body = self.raw(what, Method::GET, "/libpod/system/df", Body::None).await?;
        StorageUse::read(&body).map_err(|source| PodmanError::Answer { what, source })
    }

    /// The volumes that Podman made for containers whose images declare some, and that no container has any more, by the 64
    /// hexadecimal digits that it calls each.
    pub async fn unused_nameless_volumes(&self) -> Result<Vec<HostVolume>, PodmanError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            name: String,
            #[serde(default)]
            anonymous: bool,
        }
        let what = "list the volumes";
        let filters = json!({ "dangling": ["true"] }).to_string();
        let path = format!("/libpod/volumes/json?filters={}", segment(&filters));
        let body = self.raw(what, Method::GET, &path, Body::None).await?;
        let all: Option<Vec<Listed>> =
            serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })?;
        let volumes = all.unwrap_or_default().into_iter().filter(|volume| volume.anonymous);
        Ok(volumes.filter_map(|volume| volume.name.parse().ok()).filter(HostVolume::is_nameless).collect())
    }
}

impl StorageUse {
    fn read(answer: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Report {
            #[serde(default)]
            images_size: i64,
            #[serde(default)]
            images: Option<Vec<Image>>,
            #[serde(default)]
            volumes: Option<Vec<Volume>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Image {
            #[serde(rename = "ImageID")]
            id: ImageId,
            #[serde(default)]
            unique_size: i64,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Volume {
            #[serde(default)]
            size: i64,
        }
        let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
        let report: Report = serde_json::from_slice(answer)?;
        let mut images: Vec<ImageUse> = report
            .images
            .unwrap_or_default()
            .into_iter()
            .map(|image| ImageUse { id: image.id, own_bytes: bytes(image.unique_size) })
            .collect();
        // One with several names is there several times.
        images.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        images.dedup_by(|one, other| one.id == other.id);
        let volumes = report.volumes.unwrap_or_default();
        Ok(Self {
            images,
            images_bytes: bytes(report.images_size),
            volumes: volumes.len() as u64,
            volumes_bytes: volumes.iter().map(|volume| bytes(volume.size)).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_the_storage_is_read_as_podman_writes_it() {
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        let image = |id: &str, own: i64| json!({ "ImageID": id, "Size": 500, "SharedSize": 100, "UniqueSize": own });
        let text = json!({
            "ImagesSize": 800, "Images": [image(&one, 400), image(&two, 300), image(&one, 400)], "Containers": [],
            "Volumes": [{ "VolumeName": "blog.data", "Size": 7, "Links": 1 }, { "VolumeName": "x", "Size": -1 }],
        });
        let read = StorageUse::read(text.to_string().as_bytes()).unwrap();
        let own: Vec<u64> = read.images.iter().map(|image| image.own_bytes).collect();
        assert_eq!((own, read.images_bytes, read.volumes, read.volumes_bytes), (vec![400, 300], 800, 2, 7));
        let none = StorageUse::read(br#"{"Images":null,"Containers":null,"Volumes":null}"#).unwrap();
        assert_eq!(none, StorageUse::default());
    }
}
