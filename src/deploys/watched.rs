//! Whether a push concerns its service: where the service watches files, one must have changed since what runs was built.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::DeployError;
use super::making::Making;
use crate::builds;
use crate::names::{CommitId, RepoPath};
use crate::store::{Cause, Desired, Settings};

impl Making<'_> {
    /// Goes on unless `commit` has changed nothing that is watched. Whatever can't be told counts as a change, and so does
    /// whatever the deployment would bring beside the commit.
    pub(super) async fn check_watched(&self, commit: &CommitId) -> Result<(), DeployError> {
        let (store, service) = (&self.uses.store, self.service);
        let (Cause::Push | Cause::Hook, Some(current)) = (self.deployment.cause, service.current) else {
            return Ok(());
        };
        let release = store.release(service.id, current).await?;
        let settings = service.settings.with_repository(release.repository.as_ref());
        let Some(old) = release.commit.filter(|_| !settings.watch.is_all()) else { return Ok(()) };
        let brings_more = service.desired != Desired::Running
            || brings_settings(&settings, &release.settings)
            || store.env(&service.name).await? != release.env
            || store.has_taken_a_place(service.id, current, self.deployment.id).await?;
        if brings_more {
            return Ok(());
        }
        let Some(changed) = self.uses.repositories.changed(&service.name, &old, commit).await else { return Ok(()) };
        let path = |bytes: &Vec<u8>| Path::new(OsStr::from_bytes(bytes)).to_owned();
        let changed: Vec<_> = changed.iter().map(path).collect();
        // What it says may be what is watched.
        let top = RepoPath::top();
        let folders = service.settings.root.iter().chain([&top]);
        let files: Vec<_> = folders.filter_map(|folder| Some(folder.join(&builds::FILE.parse().ok()?))).collect();
        let is_file = |path: &Path| files.iter().any(|file| Path::new(file.as_str()) == path);
        if changed.iter().any(|path| is_file(path)) || settings.watch.touches(changed.iter().map(|path| path.as_path()))
        {
            return Ok(());
        }
        Err(DeployError::Unchanged { commit: commit.clone(), release: current, watched: settings.watch.list() })
    }
}

/// Whether a release of these settings would be another one than that which runs by `released`. What a release is given where
/// nothing is said, and what counts without one, is no difference.
fn brings_settings(settings: &Settings, released: &Settings) -> bool {
    let mut wanted = settings.clone();
    wanted.health_timeout = wanted.health_timeout.or(released.health_timeout);
    wanted.strategy = wanted.strategy.or(released.strategy);
    let Settings { domains, keep, watch, skip_marks, prefer_repository, .. } = released.clone();
    let counting = Settings { domains, keep, watch, skip_marks, prefer_repository, ..wanted };
    counting != *released
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_that_wait_for_a_release_are_brought_by_the_next_push() {
        let settings = |value: serde_json::Value| serde_json::from_value::<Settings>(value).unwrap();
        let released = settings(json!({"health_timeout": 30, "strategy": "rolling", "memory_mib": 64}));
        for (now, brings) in [
            (json!({"memory_mib": 64}), false),
            (json!({"memory_mib": 64, "domains": ["a.example"], "keep": 3, "watch": ["a/**"]}), false),
            (json!({"memory_mib": 128}), true),
            (json!({"memory_mib": 64, "strategy": "recreate"}), true),
            (json!({"memory_mib": 64, "build_args": {"A": "b"}}), true),
        ] {
            assert_eq!(brings_settings(&settings(now.clone()), &released), brings, "{now}");
        }
    }
}
