//! What lies in Podman's storage and is nobody's.
//!
//! An image that no release, no deployment under way, no container and no setting names goes when that has been so for
//! `builds.keep_cache`. So do the bases that agents before this one pulled, steps of the shell's image, and what a build
//! handed over that was killed before its release had a name. When an image was made says nothing of when it came here, so
//! the time is counted from the first look that found it so: what an administrator pulled by hand today is there tomorrow.
//!
//! What may go is listed, and each is looked at again before it goes: a build may begin between two of them.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use super::Host;
use super::noted::ages;
use crate::names::{ContainerId, HostVolume, ImageId, ImageRef, ReleaseName, is_working_container};
use crate::podman::{PodmanError, StoredImage};
use crate::services::ServiceError;

/// No build of the shell's image, nor one that an administrator began by hand, goes on for longer.
const CONTAINERS: Duration = Duration::from_secs(24 * 3600);
/// How old a layer is that no image will be made of: none is stored for so long.
const LAYERS: Duration = Duration::from_secs(24 * 3600);

/// What names images.
#[derive(Debug, Default)]
struct Named {
    names: HashSet<String>,
    ids: HashSet<ImageId>,
    /// Whatever begins so.
    prefix: Option<&'static str>,
}

impl Named {
    fn has(&self, image: &StoredImage) -> bool {
        let named =
            |name: &String| self.names.contains(name) || self.prefix.is_some_and(|prefix| name.starts_with(prefix));
        image.has_containers || self.ids.contains(&image.id) || image.names.iter().any(named)
    }
}

fn file(what: &'static str) -> impl FnOnce(std::io::Error) -> ServiceError {
    move |source| ServiceError::File { what, source }
}

impl Host {
    /// The images that nothing names.
    pub(super) async fn nobodys_images(&self) -> Result<Vec<StoredImage>, ServiceError> {
        // They come first: a release has its number in a row before it has an image.
        let mut images = self.inner.uses.podman.stored_images().await?;
        let named = self.named().await?;
        images.retain(|image| !named.has(image));
        Ok(images)
    }

    async fn named(&self) -> Result<Named, ServiceError> {
        let uses = &self.inner.uses;
        let mut named = Named::default();
        for service in uses.store.services().await? {
            let releases = uses.store.releases(service.id).await?.into_iter().map(|release| release.number);
            let waiting = uses.store.unfinished(&service.name).await?.into_iter().filter_map(|row| row.release);
            let numbers = releases.chain(waiting);
            named.names.extend(numbers.map(|number| ReleaseName::new(&service.name, number).image()));
        }
        let config = uses.config.get();
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
        named.ids.extend(uses.podman.image(&shell).await?.map(|image| image.id));
        named.names.insert(shell.to_string());
        Ok(named)
    }

    /// The images that nothing has named for long enough.
    pub async fn old_images(&self) -> Result<Vec<ImageId>, ServiceError> {
        let images = self.nobodys_images().await?;
        let config = self.inner.uses.config.get();
        let ids: Vec<&str> = images.iter().map(|image| image.id.as_str()).collect();
        let ages = ages(&config.paths.unnamed(), &ids).await?;
        let is_old = |image: &StoredImage| ages.get(image.id.as_str()) >= Some(&config.builds.keep_cache);
        Ok(images.iter().filter(|image| is_old(image)).map(|image| image.id.clone()).collect())
    }

    /// Removes one of them, unless something names it by now. No build may run.
    pub async fn remove_image(&self, id: &ImageId) -> Result<(), ServiceError> {
        let podman = &self.inner.uses.podman;
        let Some(image) = self.nobodys_images().await?.into_iter().find(|image| image.id == *id) else { return Ok(()) };
        tracing::info!("removing the image {}, which nothing names: {}", id.as_str(), image.names.join(", "));
        // It goes with its last name.
        for name in &image.names {
            // Whoever pulls or builds another of this name takes it from this one.
            if podman.image(name).await?.is_some_and(|found| found.id == *id) {
                podman.remove_image(name).await?;
            }
        }
        if image.names.is_empty() {
            podman.remove_image(id.as_str()).await?;
        }
        Ok(())
    }

    /// The working containers that killed builds of the shell's image left. What has one in Podman's own storage is no build of
    /// ours: only how long it has been there tells that it is over.
    pub async fn old_containers(&self) -> Result<Vec<ContainerId>, ServiceError> {
        let mut containers = self.inner.uses.podman.external_containers().await?;
        containers.retain(|container| is_working_container(&container.name));
        let ids: Vec<&str> = containers.iter().map(|container| container.id.as_str()).collect();
        let ages = ages(&self.inner.uses.config.get().paths.working_containers(), &ids).await?;
        let old = containers.into_iter().filter(|container| ages.get(container.id.as_str()) >= Some(&CONTAINERS));
        Ok(old.map(|container| container.id).collect())
    }

    /// Removes one of them.
    pub async fn remove_container(&self, id: &ContainerId) -> Result<(), ServiceError> {
        Ok(self.inner.uses.podman.remove_container(id.as_str()).await?)
    }

    /// Fails where layers were left by a hand-over of a build's image that was killed: only who knows that the host rests
    /// can remove them.
    pub async fn look_for_nobodys_layers(&self) -> Result<(), ServiceError> {
        match self.inner.uses.podman.unused_layers(LAYERS).await? {
            0 => Ok(()),
            layers => Err(PodmanError::Layers(layers).into()),
        }
    }

    /// The volumes that Podman made and named itself for containers that have been gone for long enough: nobody finds them
    /// again.
    pub async fn old_volumes(&self) -> Result<Vec<HostVolume>, ServiceError> {
        let (podman, config) = (&self.inner.uses.podman, self.inner.uses.config.get());
        let mut volumes = podman.unused_nameless_volumes().await?;
        let ids: Vec<&str> = volumes.iter().map(HostVolume::as_str).collect();
        let ages = ages(&config.paths.unused_volumes(), &ids).await?;
        volumes.retain(|volume| ages.get(volume.as_str()) >= Some(&config.builds.keep_cache));
        Ok(volumes)
    }

    /// Removes one of them, unless a container has it by now.
    pub async fn remove_volume(&self, volume: &HostVolume) -> Result<(), ServiceError> {
        let podman = &self.inner.uses.podman;
        if podman.unused_nameless_volumes().await?.iter().any(|unused| unused == volume) {
            tracing::info!("removing the volume {volume}, which nothing has");
            podman.remove_volume(volume).await?;
        }
        Ok(())
    }
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
            ids: ["c".repeat(64).parse().unwrap()].into(),
            prefix: Some("localhost/podkeeper-shell:"),
        };
        assert!(named.has(&image("a", &["docker.io/library/x:1", "localhost/podkeeper/blog:1"])));
        assert!(named.has(&image("c", &[])));
        assert!(named.has(&image("d", &["localhost/podkeeper-shell:abc"])));
        assert!(named.has(&StoredImage { has_containers: true, ..image("e", &[]) }));
        assert!(!named.has(&image("f", &["localhost/podkeeper/blog:2"])));
        assert!(!named.has(&image("f", &[])));
    }
}
