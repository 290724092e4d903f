//! What lies in Podman's storage and is nobody's.
//!
//! An image that no release, no deployment under way, no container and no setting names goes when that has been so for
//! `builds.keep_cache`. So do the bases that agents before this one pulled, steps of the shell's image, and what a build
//! handed over that was killed before its release had a name. When an image was made says nothing of when it came here, so
//! the time is counted from the first look that found it so: what an administrator pulled by hand today is there tomorrow.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Host;
use crate::names::{ImageRef, ReleaseName};
use crate::podman::{PodmanError, StoredImage};
use crate::services::ServiceError;

/// How many images, and how many volumes, are removed by one look.
const AT_ONCE: usize = 20;

/// How old a layer is that no image will be made of: none is stored for so long.
const LAYERS: Duration = Duration::from_secs(24 * 3600);

/// Whether a look has removed all that it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It has.
    Nothing,
    /// There are more than are removed at once.
    Some,
}

/// What names images.
#[derive(Debug, Default)]
struct Named {
    names: HashSet<String>,
    ids: HashSet<String>,
    /// Whatever begins so.
    prefix: Option<&'static str>,
}

impl Named {
    fn has(&self, image: &StoredImage) -> bool {
        let named =
            |name: &String| self.names.contains(name) || self.prefix.is_some_and(|prefix| name.starts_with(prefix));
        image.has_containers || self.ids.contains(image.id.as_str()) || image.names.iter().any(named)
    }
}

fn file(what: &'static str) -> impl FnOnce(std::io::Error) -> ServiceError {
    move |source| ServiceError::File { what, source }
}

impl Host {
    /// The images that nothing names.
    pub(super) async fn nobodys_images(&self) -> Result<Vec<StoredImage>, ServiceError> {
        // They come first: a release has its number in a row before it has an image.
        let mut images = self.inner.parts.podman.stored_images().await?;
        let named = self.named().await?;
        images.retain(|image| !named.has(image));
        Ok(images)
    }

    async fn named(&self) -> Result<Named, ServiceError> {
        let parts = &self.inner.parts;
        let mut named = Named::default();
        for service in parts.store.services().await? {
            let releases = parts.store.releases(service.id).await?.into_iter().map(|release| release.number);
            let waiting = parts.store.unfinished(&service.name).await?.into_iter().filter_map(|row| row.release);
            let numbers = releases.chain(waiting);
            named.names.extend(numbers.map(|number| ReleaseName::new(&service.name, number).image()));
        }
        let config = parts.config.get();
        let shell = match &config.shell.image {
            Some(image) => image.clone(),
            None => match tokio::fs::read(config.paths.shell.join("Containerfile")).await {
                Ok(recipe) => ImageRef::of_recipe(&recipe),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    // Nobody knows which of them is the shell's.
                    named.prefix = Some(ImageRef::RECIPES);
                    return Ok(named);
                }
                Err(error) => return Err(file("read the shell image's recipe")(error)),
            },
        };
        // Podman knows it by another name where a part of this one is left out.
        named.ids.extend(parts.podman.image(&shell).await?.map(|image| image.id));
        named.names.insert(shell.to_string());
        Ok(named)
    }

    /// Removes the images that nothing has named for long enough. No build may run.
    pub async fn remove_nobodys_images(&self) -> Result<Left, ServiceError> {
        let images = self.nobodys_images().await?;
        let config = self.inner.parts.config.get();
        let ids: Vec<&str> = images.iter().map(|image| image.id.as_str()).collect();
        let ages = ages(&config.paths.unnamed(), &ids).await?;
        let is_old = |image: &StoredImage| ages.get(image.id.as_str()) >= Some(&config.builds.keep_cache);
        let (mut removed, mut left) = (Ok(()), Left::Nothing);
        for (at, image) in images.iter().filter(|image| is_old(image)).enumerate() {
            if at == AT_ONCE {
                left = Left::Some;
                break;
            }
            tracing::info!("removing the image {}, which nothing names: {}", image.id.as_str(), image.names.join(", "));
            // One that can't be removed keeps no other.
            removed = removed.and(self.remove_all_of(image).await);
        }
        removed.map(|()| left)
    }

    async fn remove_all_of(&self, image: &StoredImage) -> Result<(), ServiceError> {
        let podman = &self.inner.parts.podman;
        // It goes with its last name.
        for name in &image.names {
            podman.remove_image(name).await?;
        }
        if image.names.is_empty() {
            podman.remove_image(image.id.as_str()).await?;
        }
        Ok(())
    }

    /// Fails where layers were left by a hand-over of a build's image that was killed: only who knows that the host rests
    /// can remove them.
    pub async fn look_for_nobodys_layers(&self) -> Result<(), ServiceError> {
        match self.inner.parts.podman.unused_layers(LAYERS).await? {
            0 => Ok(()),
            layers => Err(PodmanError::Layers(layers).into()),
        }
    }

    /// Removes the volumes that Podman made and named itself for containers that are gone: nobody finds them again.
    pub async fn remove_nobodys_volumes(&self) -> Result<Left, ServiceError> {
        let (podman, config) = (&self.inner.parts.podman, self.inner.parts.config.get());
        let volumes = podman.unused_nameless_volumes().await?;
        let ids: Vec<&str> = volumes.iter().map(String::as_str).collect();
        let ages = ages(&config.paths.unused_volumes(), &ids).await?;
        let is_old = |volume: &&&str| ages.get(**volume) >= Some(&config.builds.keep_cache);
        let (mut removed, mut left) = (Ok(()), Left::Nothing);
        for (at, volume) in ids.iter().filter(is_old).enumerate() {
            if at == AT_ONCE {
                left = Left::Some;
                break;
            }
            tracing::info!("removing the volume {volume}, which nothing has");
            removed = removed.and(podman.remove_volume(volume).await.map_err(ServiceError::from));
        }
        removed.map(|()| left)
    }
}

/// For how long each of these has been nobody's, by its id of hexadecimal digits. It is noted down with an empty file each,
/// so that an agent that starts anew doesn't begin to count again; what is somebody's by now has none any more.
async fn ages(folder: &Path, ids: &[&str]) -> Result<BTreeMap<String, Duration>, ServiceError> {
    let what = "note down what is nobody's";
    tokio::fs::create_dir_all(folder).await.map_err(file(what))?;
    let mut ages = BTreeMap::new();
    let mut entries = tokio::fs::read_dir(folder).await.map_err(file(what))?;
    while let Some(entry) = entries.next_entry().await.map_err(file(what))? {
        match entry.file_name().to_str().filter(|id| ids.contains(id)) {
            Some(id) => {
                let noted = entry.metadata().await.and_then(|found| found.modified()).map_err(file(what))?;
                // One of a clock that was ahead is as good as new.
                ages.insert(id.to_owned(), SystemTime::now().duration_since(noted).unwrap_or_default());
            }
            None => tokio::fs::remove_file(entry.path()).await.map_err(file(what))?,
        }
    }
    for id in ids {
        if !ages.contains_key(*id) {
            tokio::fs::write(folder.join(id), b"").await.map_err(file(what))?;
            ages.insert((*id).to_owned(), Duration::ZERO);
        }
    }
    Ok(ages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digit: &str, names: &[&str]) -> StoredImage {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        StoredImage { id: digit.repeat(64).parse().unwrap(), names, has_containers: false }
    }

    #[test]
    fn an_image_is_somebodys_by_any_name_its_id_or_a_container() {
        let named = Named {
            names: ["localhost/podkeeper/blog:1".to_owned()].into(),
            ids: ["c".repeat(64)].into(),
            prefix: Some("localhost/podkeeper-shell:"),
        };
        assert!(named.has(&image("a", &["docker.io/library/x:1", "localhost/podkeeper/blog:1"])));
        assert!(named.has(&image("c", &[])));
        assert!(named.has(&image("d", &["localhost/podkeeper-shell:abc"])));
        assert!(named.has(&StoredImage { has_containers: true, ..image("e", &[]) }));
        assert!(!named.has(&image("f", &["localhost/podkeeper/blog:2"])));
        assert!(!named.has(&image("f", &[])));
    }

    #[tokio::test]
    async fn the_time_is_counted_from_when_nothing_named_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("unnamed");
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        assert_eq!(ages(&folder, &[&one, &two]).await.unwrap().len(), 2);
        let hour = Duration::from_secs(3600);
        let noted = std::fs::File::options().write(true).open(folder.join(&one)).unwrap();
        noted.set_modified(SystemTime::now() - hour).unwrap();
        let counted = ages(&folder, &[&one, &two]).await.unwrap();
        assert!(counted[&one] >= hour && counted[&two] < hour, "{counted:?}");
        // It is somebody's meanwhile, and then no more.
        assert!(ages(&folder, &[]).await.unwrap().is_empty());
        assert!(ages(&folder, &[&one]).await.unwrap()[&one] < hour);
    }
}
