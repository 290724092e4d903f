//! What is kept for a while and nobody needs any more: caches of builds, and what lies in Podman's storage. What a build might
//! use goes one at a time, so that a build which begins waits for one removal and not for all of them.

use std::time::Duration;

use tokio::time::Instant;

use super::DeployError;
use super::maintain::{Maintenance, SOON};
use super::room::service_names;
use super::troubles::{Look, Task};
use crate::names::{ContainerId, HostVolume, ImageId};
use crate::queue::Backoff;

/// How long between two looks at what is kept.
const EVERY: Duration = Duration::from_secs(3600);
/// How many of each kind are removed by one look.
const AT_ONCE: usize = 20;

/// What came of a look at what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleared {
    /// All that may go is gone.
    All,
    /// There was more than goes at once.
    Some,
    /// Something could not be removed, or a build is under way.
    Not,
}

impl Cleared {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Not, _) | (_, Self::Not) => Self::Not,
            (Self::Some, _) | (_, Self::Some) => Self::Some,
            (Self::All, Self::All) => Self::All,
        }
    }
}

/// When what is kept is looked at the next time: it is much work, and what can't be removed now can't be soon.
#[derive(Debug)]
pub(super) struct Due {
    at: Instant,
    backoff: Backoff,
}

impl Due {
    pub(super) fn new() -> Self {
        Self { at: Instant::now(), backoff: Backoff::new(SOON, EVERY) }
    }

    pub(super) fn is(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Something was cleared away, and what it had may be nobody's now.
    pub(super) fn now(&mut self) {
        self.at = Instant::now();
    }

    /// It was looked at.
    pub(super) fn next(&mut self, cleared: Cleared) {
        let pause = match cleared {
            Cleared::All => EVERY,
            Cleared::Some => Duration::ZERO,
            Cleared::Not => self.backoff.next_pause(),
        };
        if cleared != Cleared::Not {
            self.backoff.reset();
        }
        self.at = Instant::now() + pause;
    }
}

/// Something in Podman's storage that is nobody's.
#[derive(Debug)]
enum Nobodys {
    Container(ContainerId),
    Image(ImageId),
    Volume(HostVolume),
}

impl Maintenance<'_> {
    /// Removes what is kept too long. What Podman itself has waits until no build is under way.
    pub(super) async fn clear_kept(&self, look: &mut Look<'_>) -> Cleared {
        let (builds, host) = (&self.uses.builds, &self.uses.host);
        let caches = async { Ok::<_, DeployError>(builds.clear_caches(&service_names(self.uses).await?).await?) };
        let mut cleared = match look.note(Task::Caches, None, caches.await) {
            Some(()) => Cleared::All,
            None => Cleared::Not,
        };
        // Given back at once: each removal takes it anew.
        let rests = builds.rest().await.map(|rest| rest.is_some());
        if look.note(Task::UnderWay, None, rests) == Some(true) {
            let containers = host.old_containers().await.map_err(DeployError::from);
            cleared = cleared.and(self.remove_all(look, Task::Containers, containers, Nobodys::Container).await);
            let images = host.old_images().await.map_err(DeployError::from);
            cleared = cleared.and(self.remove_all(look, Task::Images, images, Nobodys::Image).await);
            let volumes = host.old_volumes().await.map_err(DeployError::from);
            cleared = cleared.and(self.remove_all(look, Task::Volumes, volumes, Nobodys::Volume).await);
        } else {
            cleared = Cleared::Not;
        }
        // No sooner look would change what it finds.
        look.note(Task::Layers, None, host.look_for_nobodys_layers().await);
        cleared
    }

    async fn remove_all<T>(
        &self,
        look: &mut Look<'_>,
        task: Task,
        all: Result<Vec<T>, DeployError>,
        kind: fn(T) -> Nobodys,
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
        look.note(task, None, removed.await).unwrap_or(Cleared::Not)
    }

    async fn remove_one(&self, one: Nobodys) -> Result<(), DeployError> {
        match one {
            Nobodys::Container(id) => self.uses.host.remove_container(&id).await?,
            Nobodys::Image(id) => self.uses.host.remove_image(&id).await?,
            Nobodys::Volume(name) => self.uses.host.remove_volume(&name).await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_removed_is_tried_less_and_less_often() {
        let mut due = Due::new();
        let mut until_due = async |cleared: Cleared| {
            due.next(cleared);
            let began = Instant::now();
            while !due.is() {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            began.elapsed()
        };
        let mut taken = Vec::new();
        for _ in 0..12 {
            taken.push(until_due(Cleared::Not).await);
        }
        assert!(taken.is_sorted() && taken[0] == SOON && taken[1] > SOON && taken[11] == EVERY, "{taken:?}");
        assert_eq!(until_due(Cleared::Some).await, Duration::ZERO);
        assert_eq!(until_due(Cleared::Not).await, SOON);
        assert_eq!(until_due(Cleared::All).await, EVERY);
        due.now();
        assert!(due.is());
    }

    #[test]
    fn of_all_parts_the_worst_counts() {
        assert_eq!(Cleared::All.and(Cleared::All), Cleared::All);
        assert_eq!(Cleared::All.and(Cleared::Some), Cleared::Some);
        assert_eq!(Cleared::Some.and(Cleared::Not), Cleared::Not);
    }
}
