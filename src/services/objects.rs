//! Large files of a service's repository, which Git LFS keeps beside it.

use tokio::io::AsyncRead;

use super::{ServiceError, Services};
use crate::names::{LfsId, LfsPointer, ServiceName};

impl Services {
    /// Whether the large file is there.
    pub async fn has_object(&self, service: &ServiceName, id: &LfsId) -> bool {
        self.uses.repositories.has_object(service, id).await
    }

    /// Whether so large a file could be taken.
    ///
    /// # Errors
    /// It can't.
    pub async fn check_object(&self, service: &ServiceName, size: u64) -> Result<(), ServiceError> {
        Ok(self.uses.repositories.check_object(service, size).await?)
    }

    /// A large file, and how many bytes it has; none where it isn't there.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn open_object(
        &self,
        service: &ServiceName,
        id: &LfsId,
    ) -> Result<Option<(impl AsyncRead + Send + Unpin + use<>, u64)>, ServiceError> {
        Ok(self.uses.repositories.open_object(service, id).await?)
    }

    /// Takes a large file that `actor` pushes.
    ///
    /// # Errors
    /// It is too large, or another than was said, or can't be written.
    pub async fn push_object(
        &self,
        service: &ServiceName,
        pointer: &LfsPointer,
        actor: &str,
        body: impl AsyncRead + Send + Unpin,
    ) -> Result<(), ServiceError> {
        Ok(self.uses.repositories.push_object(service, pointer, actor, body).await?)
    }
}
