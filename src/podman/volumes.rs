//! The volumes.

use super::raw::segment;
use super::{Podman, PodmanError};
use crate::names::{HostVolume, ServiceName};

impl Podman {
    /// The volumes of a service.
    pub async fn volumes(&self, service: &ServiceName) -> Result<Vec<HostVolume>, PodmanError> {
        let volumes = self.typed.volumes();
        let options = podman_api::opts::VolumeListOpts::default();
        let all = self.read("list the volumes", volumes.list(&options)).await?;
        let names = all.into_iter().filter_map(|volume| volume.name.parse::<HostVolume>().ok());
        Ok(names.filter(|volume| volume.service().as_ref() == Some(service)).collect())
    }

    /// Removes a volume with its content.
    pub async fn remove_volume(&self, volume: &HostVolume) -> Result<(), PodmanError> {
        self.delete("remove the volume", &format!("/libpod/volumes/{}", segment(volume.as_str()))).await
    }
}
