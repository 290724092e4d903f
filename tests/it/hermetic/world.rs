//! The state of a host that isn't there: what Podman and systemd would have, as a model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tokio_util::task::AbortOnDropHandle;

use super::program::Program;

/// An image in Podman's storage.
#[derive(Debug, Clone)]
pub struct Image {
    pub names: BTreeSet<String>,
    pub program: Program,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    pub image: String,
    pub running: bool,
    /// What the last run of its health check came to.
    pub health: Option<bool>,
}

/// A loaded unit, in systemd's own words.
#[derive(Debug)]
pub struct Unit {
    pub active: &'static str,
    pub sub: &'static str,
    pub since: u64,
    pub restarts: u32,
    pub result: &'static str,
    pub status: i32,
    /// What it does by itself, which ends with it.
    pub life: Option<AbortOnDropHandle<()>>,
}

impl Unit {
    pub fn new(active: &'static str, sub: &'static str) -> Self {
        let since = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap();
        Self { active, sub, since, restarts: 0, result: "success", status: 0, life: None }
    }
}

/// What the host has.
#[derive(Debug, Default)]
pub struct World {
    pub images: BTreeMap<String, Image>,
    pub containers: BTreeMap<String, Container>,
    pub secrets: BTreeMap<String, String>,
    pub volumes: BTreeSet<String>,
    pub units: BTreeMap<String, Unit>,
    /// The ports on which somebody answers.
    pub ports: BTreeMap<u16, AbortOnDropHandle<()>>,
    /// The unit files that systemd has read, by unit: Quadlet's, as they were.
    pub files: BTreeMap<String, String>,
    /// The units that began beside another release of their service.
    pub together: BTreeSet<String>,
    /// Where Podman says that its storage lies.
    pub storage: PathBuf,
}

/// 64 hexadecimal digits that are made of `text` alone.
pub fn id_of(text: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

impl World {
    /// The image that has this name or id.
    pub fn image(&self, reference: &str) -> Option<(&String, &Image)> {
        self.images.iter().find(|(id, image)| *id == reference || image.names.contains(reference))
    }

    /// Takes a name of an image away, and the image with its last one.
    pub fn untag(&mut self, reference: &str) -> bool {
        let Some(id) = self.image(reference).map(|(id, _)| id.clone()) else { return false };
        let Some(image) = self.images.get_mut(&id) else { return false };
        image.names.remove(reference);
        if image.names.is_empty() || reference == id {
            self.images.remove(&id);
        }
        true
    }

    /// Names an image; a name that another has is that one's no longer.
    pub fn tag(&mut self, reference: &str, name: &str) -> bool {
        let Some(id) = self.image(reference).map(|(id, _)| id.clone()) else { return false };
        for image in self.images.values_mut() {
            image.names.remove(name);
        }
        self.images.get_mut(&id).is_some_and(|image| image.names.insert(name.to_owned()))
    }

    /// What the program of a container does.
    pub fn program_of(&self, container: &str) -> Option<&Program> {
        let container = self.containers.get(container)?;
        Some(&self.images.get(&container.image)?.program)
    }

    /// The port that a unit's file publishes.
    pub fn port_of(&self, unit: &str) -> Option<u16> {
        let file = self.files.get(unit)?;
        value(file, "PublishPort")?.split(':').nth(1)?.parse().ok()
    }
}

/// The first value of a key in a unit file.
pub fn value<'a>(file: &'a str, key: &str) -> Option<&'a str> {
    values(file, key).next()
}

/// All of them.
pub fn values<'a>(file: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let key = format!("{key}=");
    file.lines().filter_map(move |line| line.strip_prefix(key.as_str()))
}
