//! Large files, as Git LFS keeps them apart from a repository: each lies by its name, which is the SHA-256 of what it holds,
//! in the repository's folder, and goes with it.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::command::failed;
use super::{GitError, Repositories};
use crate::names::{LfsId, LfsPointer, ServiceName};

const MIB: u64 = 1024 * 1024;

impl Repositories {
    fn objects(&self, service: &ServiceName) -> PathBuf {
        self.folder(service).join("lfs")
    }

    pub(super) fn object(&self, service: &ServiceName, id: &LfsId) -> PathBuf {
        let (first, second) = (&id.as_str()[..2], &id.as_str()[2..4]);
        self.objects(service).join("objects").join(first).join(second).join(id.as_str())
    }

    /// Whether the large file is there.
    pub async fn has_object(&self, service: &ServiceName, id: &LfsId) -> bool {
        tokio::fs::try_exists(self.object(service, id)).await.unwrap_or(false)
    }

    /// A large file, and how many bytes it has; none where it isn't there.
    pub async fn open_object(
        &self,
        service: &ServiceName,
        id: &LfsId,
    ) -> Result<Option<(tokio::fs::File, u64)>, GitError> {
        let path = self.object(service, id);
        let file = match tokio::fs::File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let size = file.metadata().await.map_err(failed("read", &path))?.len();
        Ok(Some((file, size)))
    }

    /// Whether so large a file could be taken.
    pub async fn check_object(&self, service: &ServiceName, size: u64) -> Result<(), GitError> {
        let most = self.config.get().git.max_push_mib;
        if size > most.saturating_mul(MIB) {
            return Err(GitError::ObjectTooLarge(most));
        }
        if size > self.left(service).await?.saturating_mul(MIB) {
            return Err(GitError::RepositoryFull(self.config.get().git.max_repository_mib));
        }
        self.check_room(&self.folder(service), size)
    }

    /// Takes a large file that somebody pushes, who is `actor`.
    pub async fn push_object(
        &self,
        service: &ServiceName,
        pointer: &LfsPointer,
        actor: &str,
        body: impl AsyncRead + Send + Unpin,
    ) -> Result<(), GitError> {
        let _share = self.pushes.take(&actor.to_owned()).await.ok_or(GitError::Busy)?;
        self.add_object(service, pointer, body).await
    }

    /// Takes a large file: it is there whole, and on the disk, or not at all.
    pub(super) async fn add_object(
        &self,
        service: &ServiceName,
        pointer: &LfsPointer,
        body: impl AsyncRead + Send + Unpin,
    ) -> Result<(), GitError> {
        if self.has_object(service, &pointer.id).await {
            return Ok(());
        }
        self.check_object(service, pointer.size).await?;
        // What was cut off goes as what pushes leave does.
        let _push = self.under_way.begin(self.folder(service).join("objects")).await;
        let incoming = self.objects(service).join("incoming");
        tokio::fs::create_dir_all(&incoming).await.map_err(failed("make", &incoming))?;
        let file = tempfile::NamedTempFile::new_in(&incoming).map_err(failed("write", &incoming))?;
        let mut open = tokio::fs::File::from_std(file.reopen().map_err(failed("write", &incoming))?);
        let digest = copy(body, &mut open, pointer.size, &incoming).await?;
        if digest != pointer.id.as_str() {
            return Err(GitError::WrongObject);
        }
        open.sync_all().await.map_err(failed("write", &incoming))?;
        let place = self.object(service, &pointer.id);
        let folder = place.parent().unwrap_or(&place).to_owned();
        tokio::fs::create_dir_all(&folder).await.map_err(failed("make", &folder))?;
        file.persist(&place).map_err(|error| failed("write", &place)(error.error))?;
        let sync = async { tokio::fs::File::open(&folder).await?.sync_all().await };
        sync.await.map_err(failed("sync", &folder))
    }
}

/// Copies exactly `size` bytes, and gives their SHA-256.
async fn copy(
    mut body: impl AsyncRead + Unpin,
    file: &mut tokio::fs::File,
    size: u64,
    folder: &Path,
) -> Result<String, GitError> {
    let (mut hash, mut piece, mut came) = (Sha256::new(), vec![0; 64 * 1024], 0_u64);
    loop {
        let n = body.read(&mut piece).await.map_err(|_| GitError::WrongObject)?;
        came += n as u64;
        if came > size || (n == 0 && came < size) {
            return Err(GitError::WrongObject);
        }
        if n == 0 {
            break;
        }
        hash.update(&piece[..n]);
        file.write_all(&piece[..n]).await.map_err(failed("write", folder))?;
    }
    file.flush().await.map_err(failed("write", folder))?;
    Ok(HEXLOWER.encode(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LiveConfig};

    #[tokio::test]
    async fn a_large_file_is_there_whole_or_not_at_all() {
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.paths.state = state.path().to_owned().try_into().unwrap();
        config.builds.min_free_mib = 1;
        config.git.max_push_mib = 1;
        config.git.max_repository_mib = 2;
        let repositories = Repositories::new(LiveConfig::new(config));
        let service: ServiceName = "blog".parse().unwrap();
        repositories.create(&service, None, &"main".parse().unwrap()).await.unwrap();
        let pointer = |bytes: &[u8]| LfsPointer {
            id: HEXLOWER.encode(&Sha256::digest(bytes)).parse().unwrap(),
            size: bytes.len() as u64,
        };
        let right = pointer(b"hello");
        for wrong in [&b"hell"[..], b"hello!", b"jello", b""] {
            let taken = repositories.add_object(&service, &right, wrong).await;
            assert!(matches!(taken, Err(GitError::WrongObject)), "{taken:?}");
        }
        assert!(!repositories.has_object(&service, &right.id).await);
        repositories.add_object(&service, &right, &b"hello"[..]).await.unwrap();
        // Once more is nothing.
        repositories.add_object(&service, &right, &b""[..]).await.unwrap();
        let (mut file, size) = repositories.open_object(&service, &right.id).await.unwrap().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), size), ("hello", 5));
        assert_eq!(std::fs::read_dir(repositories.objects(&service).join("incoming")).unwrap().count(), 0);
        // What an agent that was killed left goes when another comes.
        std::fs::write(repositories.objects(&service).join("incoming/x"), "left").unwrap();
        let large = vec![7; 1024 * 1024];
        repositories.add_object(&service, &pointer(&large), &large[..]).await.unwrap();
        assert!(!repositories.objects(&service).join("incoming/x").exists());
        let more = vec![8; 1024 * 1024];
        let taken = repositories.add_object(&service, &pointer(&more), &more[..]).await;
        assert!(taken.is_ok() || matches!(taken, Err(GitError::RepositoryFull(2))), "{taken:?}");
        let full = vec![9; 1024 * 1024];
        let taken = repositories.add_object(&service, &pointer(&full), &full[..]).await;
        assert!(matches!(taken, Err(GitError::RepositoryFull(2))), "{taken:?}");
        let larger = vec![9; 1024 * 1024 + 1];
        let taken = repositories.add_object(&service, &pointer(&larger), &larger[..]).await;
        assert!(matches!(taken, Err(GitError::ObjectTooLarge(1))), "{taken:?}");
    }
}
