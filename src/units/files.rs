//! The releases' files on the disk, the Quadlet files and the health checks' units: each written whole or not at all.

use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;

use super::{CheckFiles, UnitsError, quadlet};
use crate::names::ReleaseName;

/// A Quadlet file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuadletFile {
    /// Its release.
    pub release: ReleaseName,
    /// Whether the drop-in is there that lets it start at boot.
    pub live: bool,
}

/// The folders of the Quadlet files, and of the health checks' units beside them. Where a release's Quadlet file is there, its
/// check's units are: these are written first, and removed first.
#[derive(Debug, Clone)]
pub struct Quadlets {
    folder: PathBuf,
    units: PathBuf,
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> UnitsError + 'a {
    move |source| UnitsError::File { what, path: path.to_owned(), source }
}

fn absent_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Quadlets {
    /// The files in `folder`, and the units in `units`.
    #[must_use]
    pub fn new(folder: PathBuf, units: PathBuf) -> Self {
        Self { folder, units }
    }

    fn file(&self, release: &ReleaseName) -> PathBuf {
        self.folder.join(release.quadlet_file())
    }

    fn drop_in(&self, release: &ReleaseName) -> PathBuf {
        self.folder.join(release.drop_ins()).join("live.conf")
    }

    /// Writes the release's file, and the units of its health check where it has one.
    pub async fn write(&self, release: &ReleaseName, text: &str, check: Option<&CheckFiles>) -> Result<(), UnitsError> {
        if let Some(check) = check {
            write_whole(&self.units.join(release.check_service()), &check.service).await?;
            write_whole(&self.units.join(release.check_timer()), &check.timer).await?;
        }
        write_whole(&self.file(release), text).await
    }

    /// Removes the release's file and drop-in, and its health check's units.
    pub async fn remove(&self, release: &ReleaseName) -> Result<(), UnitsError> {
        self.set_live(release, false).await?;
        let mut was_checked = false;
        for unit in [release.check_timer(), release.check_service()] {
            let file = self.units.join(unit);
            match tokio::fs::remove_file(&file).await {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => {
                    removed.map_err(failed("remove", &file))?;
                    was_checked = true;
                }
            }
        }
        if was_checked {
            sync_folder(&self.units).await?;
        }
        let file = self.file(release);
        absent_is_fine(tokio::fs::remove_file(&file).await).map_err(failed("remove", &file))?;
        sync_folder(&self.folder).await
    }

    /// Lets the release start at boot, or no longer.
    pub async fn set_live(&self, release: &ReleaseName, live: bool) -> Result<(), UnitsError> {
        let file = self.drop_in(release);
        if live {
            return write_whole(&file, quadlet::LIVE).await;
        }
        absent_is_fine(tokio::fs::remove_file(&file).await).map_err(failed("remove", &file))?;
        if let Some(folder) = file.parent() {
            absent_is_fine(tokio::fs::remove_dir(folder).await).map_err(failed("remove", folder))?;
        }
        Ok(())
    }

    /// All releases that have a file or a drop-in.
    pub async fn list(&self) -> Result<Vec<QuadletFile>, UnitsError> {
        let mut files = Vec::new();
        let mut entries = match tokio::fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(failed("list", &self.folder)(error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(failed("list", &self.folder))? {
            let name = entry.file_name();
            if let Some(release) = name.to_str().and_then(ReleaseName::of_quadlet_file) {
                let live = tokio::fs::try_exists(self.drop_in(&release)).await.unwrap_or(false);
                files.push(QuadletFile { release, live });
            }
        }
        Ok(files)
    }
}

async fn write_whole(path: &Path, text: &str) -> Result<(), UnitsError> {
    let folder = path.parent().unwrap_or(path);
    tokio::fs::create_dir_all(folder).await.map_err(failed("make", folder))?;
    // Quadlet reads no file whose name ends so.
    let part = path.with_extension("part");
    let write = async {
        let mut file = tokio::fs::File::create(&part).await?;
        file.write_all(text.as_bytes()).await?;
        file.sync_all().await?;
        tokio::fs::rename(&part, path).await
    };
    if let Err(error) = write.await {
        let _ = tokio::fs::remove_file(&part).await;
        return Err(failed("write", path)(error));
    }
    sync_folder(folder).await
}

async fn sync_folder(folder: &Path) -> Result<(), UnitsError> {
    let sync = async { tokio::fs::File::open(folder).await?.sync_all().await };
    sync.await.map_err(failed("sync", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ReleaseNumber;

    #[tokio::test]
    async fn a_file_comes_and_goes_with_its_drop_in() {
        let folder = tempfile::tempdir().unwrap();
        let quadlets = Quadlets::new(folder.path().join("systemd"), folder.path().join("user"));
        let count = |of: &str| std::fs::read_dir(folder.path().join(of)).unwrap().count();
        let check = CheckFiles { timer: "timer".into(), service: "service".into() };
        assert_eq!(quadlets.list().await.unwrap(), []);
        let release = ReleaseName::new(&"blog".parse().unwrap(), ReleaseNumber(2));
        quadlets.write(&release, "text", Some(&check)).await.unwrap();
        assert_eq!(count("user"), 2);
        quadlets.set_live(&release, true).await.unwrap();
        assert_eq!(quadlets.list().await.unwrap(), [QuadletFile { release: release.clone(), live: true }]);
        quadlets.set_live(&release, false).await.unwrap();
        quadlets.set_live(&release, false).await.unwrap();
        assert_eq!(quadlets.list().await.unwrap(), [QuadletFile { release: release.clone(), live: false }]);
        quadlets.remove(&release).await.unwrap();
        quadlets.remove(&release).await.unwrap();
        assert_eq!((count("systemd"), count("user")), (0, 0));
    }
}
