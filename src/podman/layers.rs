//! Layers in Podman's storage that no image and no container is made of. A program that is killed while it stores an image
//! leaves those that it has unpacked whole, and nobody would ever find them again; one that is unpacked in part Podman
//! itself removes.
//!
//! They are only told. What removes them, podman-system-check(1) with `--repair`, looks at the storage piece by piece without
//! a lock on all of it, and takes what is stored or started meanwhile for left over, too: it is for a host that rests.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

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
    /// How many layers nothing is made of that are older than `age`.
    pub async fn unused_layers(&self, age: Duration) -> Result<usize, PodmanError> {
        let storage = self.storage("tell where its storage lies").await?.to_owned();
        // It is never cancelled: that fails only as the whole agent ends.
        let lists = tokio::task::spawn_blocking(move || Lists::read(&storage)).await.unwrap_or_default();
        let now = Timestamp::now();
        let is_old = |layer: &&Layer| Duration::try_from(now.duration_since(layer.created)).is_ok_and(|old| old >= age);
        Ok(lists.unused().into_iter().filter(is_old).count())
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
