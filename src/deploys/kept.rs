//! What is kept for a while and nobody needs any more: caches of builds, and what lies in Podman's storage. What a build might
//! use goes one at a time, so that a build which begins waits for one removal and not for all of them.

use super::DeployError;
use super::due::Cleared;
use super::maintain::Maintenance;
use super::room::service_names;
use super::troubles::{MaintenancePass, Task};
use crate::names::{ContainerId, HostVolume, ImageId};

/// How many of each kind are removed by one look.
const AT_ONCE: usize = 20;

/// Something in Podman's storage that is nobody's.
#[derive(Debug)]
enum Orphan {
    Container(ContainerId),
    Image(ImageId),
    Volume(HostVolume),
}

impl Maintenance<'_> {
    /// Removes what is kept too long. What Podman itself has waits until no build is under way.
    pub(super) async fn clear_kept(&self, pass: &mut MaintenancePass<'_>) -> Cleared {
        let (builds, host) = (&self.uses.builds, &self.uses.host);
        let caches = async { Ok::<_, DeployError>(builds.clear_caches(&service_names(self.uses).await?).await?) };
        let mut cleared = match pass.note(Task::Caches, None, caches.await) {
            Some(()) => Cleared::All,
            None => Cleared::Not,
        };
        // Given back at once: each removal takes it anew.
        let rests = builds.rest().await.map(|rest| rest.is_some());
        if pass.note(Task::UnderWay, None, rests) == Some(true) {
            let containers = host.old_containers().await.map_err(DeployError::from);
            cleared = cleared.and(self.remove_all(pass, Task::Containers, containers, Orphan::Container).await);
            let images = host.old_images().await.map_err(DeployError::from);
            cleared = cleared.and(self.remove_all(pass, Task::Images, images, Orphan::Image).await);
            let volumes = host.old_volumes().await.map_err(DeployError::from);
            cleared = cleared.and(self.remove_all(pass, Task::Volumes, volumes, Orphan::Volume).await);
        } else {
            cleared = Cleared::Not;
        }
        // No sooner look would change what it finds.
        pass.note(Task::Layers, None, host.look_for_nobodys_layers().await);
        cleared
    }

    async fn remove_all<T>(
        &self,
        pass: &mut MaintenancePass<'_>,
        task: Task,
        all: Result<Vec<T>, DeployError>,
        kind: fn(T) -> Orphan,
    ) -> Cleared {
        let removed = async {
            let all = all?;
            let is_more = all.len() > AT_ONCE;
            let mut removed = Ok(());
            for one in all.into_iter().take(AT_ONCE).map(kind) {
                let Some(_rest) = self.uses.builds.rest().await? else { return Ok(Cleared::Not) };
                // One that can't be removed keeps no other.
                removed = removed.and(self.remove_one(one).await);
            }
            removed.map(|()| if is_more { Cleared::Some } else { Cleared::All })
        };
        pass.note(task, None, removed.await).unwrap_or(Cleared::Not)
    }

    async fn remove_one(&self, one: Orphan) -> Result<(), DeployError> {
        match one {
            Orphan::Container(id) => self.uses.host.remove_container(&id).await?,
            Orphan::Image(id) => self.uses.host.remove_image(&id).await?,
            Orphan::Volume(name) => self.uses.host.remove_volume(&name).await?,
        }
        Ok(())
    }
}
