//! A build: a transient unit of the service user's manager that runs `podman build`, so that it is limited, survives
//! the agent, and tells its end to whoever asks later.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use thiserror::Error;

use super::detect::{self, Recipe};
use crate::config::LiveConfig;
use crate::names::{AbsPath, CommitId, DeploymentId, IdRange, ReleaseName};
use crate::podman::{ImageFacts, Podman, PodmanError};
use crate::problem::{Code, Problem};
use crate::units::{Argv, BuildOutcome, BuildUnit, UnitsError, UserManager, own_program};

/// Why there is no image.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Podman.
    #[error(transparent)]
    Podman(#[from] PodmanError),
    /// systemd.
    #[error(transparent)]
    Units(#[from] UnitsError),
    /// The build's folder.
    #[error("can't {what}")]
    Folder {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Too little space.
    #[error("{free} MiB of disk are free, and a build needs {needed}")]
    Space {
        /// What is free, in MiB.
        free: u64,
        /// What must be, in MiB.
        needed: u64,
    },
    /// Nothing says how to build it.
    #[error("the repository has no Containerfile, and no recipe fits its files")]
    NoRecipe,
    /// `podman build` failed.
    #[error("the build ended with status {0}")]
    Failed(i32),
    /// It took too long.
    #[error("the build took longer than {0} s")]
    TimedOut(u64),
    /// Its unit is gone, because the host or its manager was restarted.
    #[error("the build was cut off by a restart of the host")]
    Vanished,
    /// It succeeded, and its image isn't there.
    #[error("the build left no image")]
    NoImage,
}

impl BuildError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Self::Podman(error) => return error.problem(),
            Self::Units(error) => return error.problem(),
            Self::Folder { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                (Code::DiskFull, "free some space, then deploy again")
            }
            Self::Folder { .. } => (Code::Internal, "look at the agent's log: journalctl -u podkeeper"),
            Self::Space { .. } => (Code::DiskFull, "free some space, then deploy again"),
            Self::NoRecipe => (Code::NoRecipe, "add a Containerfile at the top of the repository"),
            Self::Failed(_) => (Code::BuildFailed, "the last lines of the build tell why"),
            Self::TimedOut(_) => (Code::BuildTimeout, "make the build shorter, or raise `builds.timeout`"),
            Self::Vanished => (Code::Interrupted, "deploy again"),
            Self::NoImage => (Code::BuildFailed, "deploy again"),
        };
        Problem::new(code, self.to_string()).with_hint(hint)
    }
}

/// Everything that builds need.
#[derive(Debug, Clone)]
pub struct Builds {
    podman: Podman,
    units: UserManager,
    config: LiveConfig,
    /// This program, as it was called at the start: an update may have put another in its place.
    program: AbsPath,
}

/// What a context is built by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instructions {
    /// A file of the repository.
    Own(&'static str),
    /// A recipe that fits its files.
    Recipe(Recipe),
}

impl Builds {
    /// The builds of this host.
    #[must_use]
    pub fn new(podman: Podman, units: UserManager, config: LiveConfig) -> Self {
        Self { podman, units, config, program: own_program() }
    }

    /// The folder of the deployment's commit.
    #[must_use]
    pub fn context(&self, id: DeploymentId) -> PathBuf {
        self.config.get().paths.contexts().join(id.to_string())
    }

    /// Makes the deployment's folder, empty.
    pub async fn make_context(&self, id: DeploymentId) -> Result<PathBuf, BuildError> {
        let context = self.context(id);
        let failed = |source| BuildError::Folder { what: "make the build's folder", source };
        tokio::fs::create_dir_all(&context).await.map_err(failed)?;
        Ok(context)
    }

    /// Where the recipe of the deployment is written: beside its folder, so that it never hides a file of it.
    fn recipe_file(&self, id: DeploymentId) -> PathBuf {
        self.config.get().paths.contexts().join(format!("{id}.Containerfile"))
    }

    fn temporary(&self, id: DeploymentId) -> PathBuf {
        self.config.get().paths.contexts().join(format!("{id}.tmp"))
    }

    /// What the context of `id` is built by.
    pub async fn instructions(&self, id: DeploymentId) -> Result<Instructions, BuildError> {
        let context = self.context(id);
        let found = tokio::task::spawn_blocking(move || choose(&context)).await;
        found.ok().flatten().ok_or(BuildError::NoRecipe)
    }

    /// Starts the build of `release` and returns once it runs.
    pub async fn start(
        &self,
        id: DeploymentId,
        release: &ReleaseName,
        commit: &CommitId,
        instructions: &Instructions,
    ) -> Result<(), BuildError> {
        self.check_space()?;
        let context = self.context(id);
        let file = match instructions {
            Instructions::Own(name) => context.join(name),
            Instructions::Recipe(recipe) => {
                let file = self.recipe_file(id);
                tokio::fs::write(&file, &recipe.containerfile)
                    .await
                    .map_err(|source| BuildError::Folder { what: "write the recipe", source })?;
                file
            }
        };
        // On the disk: what a build unpacks may be larger than the memory.
        let temporary = self.temporary(id);
        tokio::fs::create_dir_all(&temporary)
            .await
            .map_err(|source| BuildError::Folder { what: "make the build's folder", source })?;
        let unit = BuildUnit {
            deployment: id,
            release: release.clone(),
            argv: self.argv(id, release, commit, &file, &context)?,
            temporary: temporary.try_into().map_err(UnitsError::from)?,
            timeout: self.config.get().builds.timeout,
            memory_mib: self.config.get().builds.memory_mib,
        };
        Ok(self.units.start_build(&unit).await?)
    }

    fn argv(
        &self,
        id: DeploymentId,
        release: &ReleaseName,
        commit: &CommitId,
        file: &Path,
        context: &Path,
    ) -> Result<Argv, UnitsError> {
        let config = self.config.get();
        let arguments = [
            // The unit ends when journald has read all of it.
            "until-read".to_owned(),
            config.limits.journal.as_millis().to_string(),
            "--".into(),
            config.paths.podman.to_string(),
            "build".into(),
            // HEALTHCHECK is not part of the OCI format, which drops it.
            "--format=docker".into(),
            "--layers".into(),
            format!("--cgroup-parent=build-{id}.slice"),
            "--pull=missing".into(),
            format!("--label=podkeeper.service={}", release.service),
            format!("--label=podkeeper.commit={commit}"),
            format!("--label=org.opencontainers.image.revision={commit}"),
            format!("--tag={}", release.image()),
            format!("--file={}", file.display()),
            "--".into(),
            context.display().to_string(),
        ];
        Argv::new(&self.program, arguments)
    }

    fn check_space(&self) -> Result<(), BuildError> {
        let needed = self.config.get().builds.min_free_mib;
        let stat = statvfs(&*self.config.get().paths.state)
            .map_err(|error| BuildError::Folder { what: "measure the disk", source: error.into() })?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size()) / (1024 * 1024);
        if free < needed { Err(BuildError::Space { free, needed }) } else { Ok(()) }
    }

    /// How the build of `id` stands; none: there is no such unit.
    pub async fn outcome(&self, id: DeploymentId) -> Result<Option<BuildOutcome>, BuildError> {
        Ok(self.units.build_result(id).await?)
    }

    /// Waits for the end of the build, and tells of its image.
    pub async fn wait(&self, id: DeploymentId, release: &ReleaseName) -> Result<ImageFacts, BuildError> {
        match self.units.wait_build(id).await? {
            Some(BuildOutcome::Succeeded) => {}
            Some(BuildOutcome::Failed { status }) => return Err(BuildError::Failed(status)),
            Some(BuildOutcome::TimedOut) => {
                return Err(BuildError::TimedOut(self.config.get().builds.timeout.as_secs()));
            }
            Some(BuildOutcome::Running) | None => return Err(BuildError::Vanished),
        }
        self.podman.image(&release.image()).await?.ok_or(BuildError::NoImage)
    }

    /// Copies the image into the ids of its service now, which else delays its start.
    pub async fn prepare(&self, release: &ReleaseName, ids: IdRange) -> Result<(), BuildError> {
        let (podman, release) = (self.podman.clone(), release.clone());
        // A task of its own, which ends what it began also when nobody waits for it any more.
        let shift = tokio::spawn(async move { podman.shift_image(&release, &release.image(), ids).await });
        // It is never cancelled: that fails only as the whole agent ends.
        Ok(shift.await.unwrap_or(Ok(()))?)
    }

    /// Ends the build, whatever it does at the moment. Nothing of it stays but its lines in the journal.
    pub async fn cancel(&self, id: DeploymentId) -> Result<(), BuildError> {
        Ok(self.units.cancel_build(id).await?)
    }

    /// Removes the ended build's unit and folder.
    pub async fn clear(&self, id: DeploymentId) -> Result<(), BuildError> {
        self.units.clear_build(id).await?;
        let gone = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(BuildError::Folder { what: "remove the build's folder", source }),
        };
        tokio::fs::remove_file(self.recipe_file(id)).await.or_else(gone)?;
        tokio::fs::remove_file(self.context(id).with_extension("index")).await.or_else(gone)?;
        for folder in [self.temporary(id), self.context(id)] {
            let removed = tokio::task::spawn_blocking(move || remove_folder(&folder)).await;
            // It is never cancelled: that fails only as the whole agent ends.
            removed.unwrap_or(Ok(())).or_else(gone)?;
        }
        Ok(())
    }

    /// Removes the working containers that killed builds left. No build may run.
    pub async fn clear_leftovers(&self) -> Result<(), BuildError> {
        for container in self.podman.external_containers().await? {
            if container.name.contains("working-container") {
                self.podman.remove_container(&container.id).await?;
            }
        }
        Ok(())
    }

    /// Removes the old steps that led to no release that is still there. No build may run.
    pub async fn clear_cache(&self) -> Result<(), BuildError> {
        Ok(self.podman.clear_cache(self.config.get().builds.keep_cache).await?)
    }

    /// The deployments that have a folder.
    pub async fn folders(&self) -> Result<Vec<DeploymentId>, BuildError> {
        let what = "list the builds' folders";
        let mut folders = Vec::new();
        let mut entries = match tokio::fs::read_dir(self.config.get().paths.contexts()).await {
            Ok(entries) => entries,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(folders),
            Err(source) => return Err(BuildError::Folder { what, source }),
        };
        while let Some(entry) = entries.next_entry().await.map_err(|source| BuildError::Folder { what, source })? {
            let name = entry.file_name().to_string_lossy().into_owned();
            folders.extend(name.split('.').next().and_then(|id| id.parse::<DeploymentId>().ok()));
        }
        Ok(folders)
    }
}

/// Removes a folder, and what a build that was killed has left in it: mount points that not even their owner may enter.
fn remove_folder(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            open_folders(folder)?;
            std::fs::remove_dir_all(folder)
        }
        removed => removed,
    }
}

/// Lets the owner of a folder enter it, and all that are in it. No link is followed.
fn open_folders(folder: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}

fn choose(context: &Path) -> Option<Instructions> {
    let context = &context.canonicalize().ok()?;
    // Podman's own order, podman-build(1).
    for name in ["Containerfile", "Dockerfile"] {
        // A link may lead out of the repository, to files that are not its own.
        let inside = |path: std::path::PathBuf| path.is_file() && path.starts_with(context);
        if context.join(name).canonicalize().is_ok_and(inside) {
            return Some(Instructions::Own(name));
        }
    }
    detect::detect_in(context).map(Instructions::Recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_its_owner_may_not_enter_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let (folder, other) = (root.path().join("7.tmp"), root.path().join("other"));
        let (mount, within) = (folder.join("buildah/mnt"), folder.join("buildah/mnt/rootfs"));
        std::fs::create_dir_all(&within).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, folder.join("link")).unwrap();
        for (path, mode) in [(&within, 0o000), (&mount, 0o100), (&other, 0o500)] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        // Root may enter all of them; whoever else runs this may not.
        remove_folder(&folder).unwrap();
        assert!(!folder.exists());
        assert_eq!(std::fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o500, "no link is followed");
    }
}
