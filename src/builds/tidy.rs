//! What is removed of builds: one that ends early, what one leaves, and what is kept too long.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{BuildError, Builds};
use crate::names::{DeploymentId, MEASURE_UNIT, ServiceName, TIDY_UNIT};
use crate::sandbox::Measured;
use crate::units::{Argv, JobResult};

/// How long it may take to remove what a build left.
const CLEAR: Duration = Duration::from_secs(120);
/// How long it may take to measure all caches, and to remove some.
const TIDY: Duration = Duration::from_secs(300);

fn folder(what: &'static str) -> impl FnOnce(std::io::Error) -> BuildError {
    move |source| BuildError::Folder { what, source }
}

fn unless_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

impl Builds {
    /// Ends the build, whatever it does at the moment. Nothing of it stays but its lines in the journal.
    pub async fn cancel(&self, id: DeploymentId) -> Result<(), BuildError> {
        Ok(self.units.cancel_build(id).await?)
    }

    /// Removes the ended build's unit, files and folders.
    pub async fn clear(&self, id: DeploymentId) -> Result<(), BuildError> {
        let what = "remove the build's folder";
        self.units.clear_build(id).await?;
        let context = self.file(id, "");
        let mut others = Vec::new();
        for path in self.listed().await?.into_iter().filter(|path| of(path) == Some(id) && *path != context) {
            let found = tokio::fs::symlink_metadata(&path).await;
            if found.is_ok_and(|found| found.is_dir()) {
                others.push(path.display().to_string());
            } else {
                tokio::fs::remove_file(&path).await.or_else(unless_gone).map_err(folder(what))?;
            }
        }
        // A build that was killed leaves what belongs to its service's ids.
        if !others.is_empty() {
            let mut words = vec!["rm".into(), "-rf".into(), "--one-file-system".into(), "--".into()];
            words.append(&mut others);
            self.as_root(&id.clearing_unit(), words, CLEAR, what).await?;
        }
        tokio::fs::remove_dir_all(&context).await.or_else(unless_gone).map_err(folder(what))
    }

    /// Removes the caches that are older or more than the configuration wants, and those that belong to none of these
    /// services. Where the disk is too full for a build, as many as it takes go.
    pub async fn clear_caches(&self, services: &[ServiceName]) -> Result<(), BuildError> {
        let config = self.config.get();
        let mut words = vec![
            self.program.to_string(),
            "build-tidy".into(),
            format!("--cache={}", config.paths.cache().display()),
            format!("--most={}", config.builds.cache_mib),
            format!("--free={}", config.builds.min_free_mib),
            format!("--age={}", config.builds.keep_cache.as_secs()),
            "--".into(),
        ];
        words.extend(services.iter().map(ServiceName::to_string));
        self.as_root(TIDY_UNIT, words, TIDY, "look after the builds' caches").await
    }

    /// Measures what the caches and the repositories take.
    pub async fn measure(&self) -> Result<Measured, BuildError> {
        let what = "measure the disk";
        let config = self.config.get();
        let into = config.paths.measured();
        tokio::fs::remove_file(&into).await.or_else(unless_gone).map_err(folder(what))?;
        let words = vec![
            self.program.to_string(),
            "measure".into(),
            format!("--cache={}", config.paths.cache().display()),
            format!("--repositories={}", config.paths.repositories().display()),
            format!("--into={}", into.display()),
        ];
        self.as_root(MEASURE_UNIT, words, TIDY, what).await?;
        let text = tokio::fs::read(&into).await.map_err(folder(what))?;
        serde_json::from_slice(&text).map_err(|error| folder(what)(error.into()))
    }

    /// Runs a program as root of the user namespace to its end.
    async fn as_root(
        &self,
        unit: &str,
        words: Vec<String>,
        limit: Duration,
        what: &'static str,
    ) -> Result<(), BuildError> {
        let words = std::iter::once("unshare".to_owned()).chain(words);
        let argv = Argv::new(&self.config.get().paths.podman, words)?;
        match self.units.run_once(unit, &argv, limit).await? {
            JobResult::Done => Ok(()),
            _ => Err(folder(what)(std::io::Error::other(format!("{unit} of the user podkeeper failed")))),
        }
    }

    /// The deployments that have a folder or a file.
    pub async fn folders(&self) -> Result<Vec<DeploymentId>, BuildError> {
        Ok(self.listed().await?.iter().filter_map(|path| of(path)).collect())
    }

    async fn listed(&self) -> Result<Vec<PathBuf>, BuildError> {
        let what = "list the builds' folders";
        let mut listed = Vec::new();
        let mut entries = match tokio::fs::read_dir(self.config.get().paths.contexts()).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(listed),
            Err(error) => return Err(folder(what)(error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(folder(what))? {
            listed.push(entry.path());
        }
        Ok(listed)
    }
}

/// The deployment that this is of: its number, or that and an ending.
fn of(path: &Path) -> Option<DeploymentId> {
    path.file_name()?.to_str()?.split('.').next()?.parse().ok()
}
