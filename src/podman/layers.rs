//! Layers in Podman's storage that no image and no container is made of. A program that is killed while it stores an image
//! leaves those that it has unpacked, and nobody would ever find them again; one that is unpacked in part Podman itself
//! removes.
//!
//! Podman finds them, too, and it alone removes them. But it looks at all files of its storage for that (podman-system-check(1)),
//! so it is asked where its own lists show that there are some. It is never asked to look at what is in the files: it takes a
//! copy of an image in other ids for damaged, and to mend an image it removes it.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::raw::Body;
use super::{Podman, PodmanError};

/// The lists of containers/storage, as far as they tell what is made of what.
#[derive(Debug, Default)]
struct Lists {
    layers: Vec<Layer>,
    images: Vec<Image>,
    containers: Vec<Container>,
}

#[derive(Debug, Deserialize)]
struct Layer {
    id: String,
    #[serde(default)]
    parent: String,
    created: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    #[serde(default)]
    layer: String,
    /// Its copies in other ids.
    #[serde(default)]
    mapped_layers: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Container {
    #[serde(default)]
    layer: String,
}

/// What Podman finds wrong, by the ids.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Report {
    layers: Option<BTreeMap<String, Vec<String>>>,
    images: Option<BTreeMap<String, Vec<String>>>,
    containers: Option<BTreeMap<String, Vec<String>>>,
}

fn list<T: DeserializeOwned>(file: &Path) -> Vec<T> {
    match std::fs::read(file) {
        // What is not as we know it tells nothing.
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::debug!("can't read a list of Podman's storage: {error}");
            }
            Vec::new()
        }
    }
}

impl Lists {
    /// The layers come first: whatever is made of one that is in their list is in the others by then.
    fn read(storage: &Path) -> Self {
        Self {
            layers: list(&storage.join("overlay-layers/layers.json")),
            images: list(&storage.join("overlay-images/images.json")),
            containers: ["containers.json", "volatile-containers.json"]
                .into_iter()
                .flat_map(|file| list(&storage.join("overlay-containers").join(file)))
                .collect(),
        }
    }

    /// The layers that nothing is made of, directly or by others.
    fn unused(&self) -> Vec<&Layer> {
        let mut used = HashSet::new();
        let parents: BTreeMap<&str, &str> =
            self.layers.iter().map(|layer| (layer.id.as_str(), layer.parent.as_str())).collect();
        let images = self.images.iter().flat_map(|image| image.mapped_layers.iter().chain([&image.layer]));
        for top in images.chain(self.containers.iter().map(|container| &container.layer)) {
            let mut layer = top.as_str();
            while !layer.is_empty() && used.insert(layer) {
                layer = parents.get(layer).copied().unwrap_or_default();
            }
        }
        self.layers.iter().filter(|layer| !used.contains(layer.id.as_str())).collect()
    }
}

impl Podman {
    /// Removes the layers that nothing is made of and that are older than `age`; nothing may be stored meanwhile. Where
    /// Podman finds anything else wrong, all stays as it is.
    pub async fn remove_unused_layers(&self, age: Duration) -> Result<(), PodmanError> {
        let what = "remove layers that nothing is made of";
        let storage = self.storage(what).await?.to_owned();
        // It is never cancelled: that fails only as the whole agent ends.
        let lists = tokio::task::spawn_blocking(move || Lists::read(&storage)).await.unwrap_or_default();
        let unused = lists.unused();
        let now = Timestamp::now();
        let is_old = |layer: &Layer| Duration::try_from(now.duration_since(layer.created)).is_ok_and(|old| old >= age);
        // One that is new may lie upon an old one, which can't be removed then.
        if unused.is_empty() || !unused.iter().all(|layer| is_old(layer)) {
            return Ok(());
        }
        let path = format!("/libpod/system/check?quick=true&unreferenced_layer_max_age={}s", age.as_secs());
        let body = self.raw(what, Method::POST, &path, Body::None).await?;
        let report: Report = serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })?;
        let layers = report.layers.unwrap_or_default().into_keys();
        let mut damaged: Vec<String> = layers.filter(|id| !unused.iter().any(|layer| layer.id == *id)).collect();
        damaged.extend([report.images, report.containers].into_iter().flatten().flat_map(BTreeMap::into_keys));
        if !damaged.is_empty() {
            // To mend them it would remove images.
            return Err(PodmanError::Damaged(damaged.join(", ").into()));
        }
        tracing::info!("removing layers that nothing is made of: a program that stored an image was killed");
        self.raw(what, Method::POST, &format!("{path}&repair=true"), Body::None).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_used_by_an_image_its_copies_a_container_or_what_lies_upon_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        assert!(Lists::read(folder.path()).unused().is_empty());
        let layer = |id: &str, parent: &str| {
            format!(r#"{{"id":"{id}","parent":"{parent}","created":"2026-01-01T00:00:00.5Z"}}"#)
        };
        let layers = [
            layer("base", ""),
            layer("top", "base"),
            layer("copy", "base"),
            layer("read", "top"),
            layer("volatile", "top"),
        ];
        let left = [r#"{"id":"left","created":"2026-01-01T00:00:00Z"}"#.to_owned(), layer("upon", "left")];
        write("overlay-layers/layers.json", &format!("[{}]", [layers.to_vec(), left.to_vec()].concat().join(",")));
        write("overlay-images/images.json", r#"[{"id":"i","layer":"top","mapped-layers":["copy"],"names":["x"]}]"#);
        write("overlay-containers/containers.json", r#"[{"id":"c","layer":"read"}]"#);
        write("overlay-containers/volatile-containers.json", r#"[{"id":"d","layer":"volatile"}]"#);
        let lists = Lists::read(folder.path());
        assert_eq!(lists.unused().iter().map(|layer| layer.id.as_str()).collect::<Vec<_>>(), ["left", "upon"]);
    }
}
