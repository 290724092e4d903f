//! The bodies of deliveries: whose they are is known only once they are whole, so what is held of all of them together
//! has one bound.

use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::State;
use crate::problem::{Code, Problem};

/// The largest body.
pub const LARGEST: usize = 25 * 1024 * 1024;
/// What is larger than this goes to a file.
const IN_MEMORY: usize = 1024 * 1024;
/// Bodies are counted in pieces of this size. The first of each is free: the number of connections bounds them.
const PIECE: usize = 64 * 1024;
/// How many pieces are held at once: 64 MiB.
const BUDGET: usize = 1024;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is held of all bodies.
#[derive(Debug)]
pub struct Spool {
    budget: Arc<Semaphore>,
    /// One large body is read back at a time.
    reading: Semaphore,
}

impl Default for Spool {
    fn default() -> Self {
        Self { budget: Arc::new(Semaphore::new(BUDGET)), reading: Semaphore::new(1) }
    }
}

/// A body that has arrived whole.
pub struct Spooled {
    held: Held,
    _budget: Option<OwnedSemaphorePermit>,
}

enum Held {
    Memory(Vec<u8>),
    /// A file without a name, gone when it is closed.
    File(std::fs::File),
}

fn host_failed(error: std::io::Error) -> Problem {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return Problem::new(Code::DiskFull, "no space is left on the host's disk");
    }
    Problem::new(Code::Internal, format!("a body can't be kept: {error}"))
}

impl Spool {
    /// Takes the request's body, of at most `most` bytes. None: it is larger.
    pub async fn take(&self, request: &mut tide::Request<State>, most: usize) -> Result<Option<Spooled>, Problem> {
        let folder = request.state().config().paths.state.clone();
        let body = request.take_body();
        let taken = tokio::time::timeout(PATIENCE, self.hold(body.into_reader(), &folder, most)).await;
        taken.map_err(|_| super::body::late())?
    }

    async fn hold(
        &self,
        mut body: impl futures_util::AsyncRead + Unpin,
        folder: &Path,
        most: usize,
    ) -> Result<Option<Spooled>, Problem> {
        let mut budget: Option<OwnedSemaphorePermit> = None;
        let mut memory = Vec::new();
        let mut file: Option<tokio::fs::File> = None;
        let mut length = 0;
        let mut piece = vec![0; 16 * 1024];
        loop {
            let n = match body.read(&mut piece).await {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return Err(super::body::failed(&error, LARGEST)),
            };
            length += n;
            if length > most {
                return Ok(None);
            }
            while length > PIECE * (1 + budget.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)) {
                let more = self.budget.clone().try_acquire_owned();
                let more = more.map_err(|_| Problem::new(Code::Busy, "too many large deliveries at once"))?;
                match &mut budget {
                    Some(budget) => budget.merge(more),
                    None => budget = Some(more),
                }
            }
            if length > IN_MEMORY && file.is_none() {
                let folder = folder.to_owned();
                let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder)).await;
                let made = made.map_err(std::io::Error::other).and_then(|made| made).map_err(host_failed)?;
                let mut made = tokio::fs::File::from_std(made);
                made.write_all(&std::mem::take(&mut memory)).await.map_err(host_failed)?;
                file = Some(made);
            }
            match &mut file {
                Some(file) => file.write_all(&piece[..n]).await.map_err(host_failed)?,
                None => memory.extend_from_slice(&piece[..n]),
            }
        }
        let held = match file {
            Some(mut file) => {
                file.flush().await.map_err(host_failed)?;
                Held::File(file.into_std().await)
            }
            None => Held::Memory(memory),
        };
        Ok(Some(Spooled { held, _budget: budget }))
    }

    /// Lets `work` see the whole body. Where that takes time it has a thread of its own.
    pub async fn with<T: Send + 'static>(
        &self,
        body: Spooled,
        work: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _turn = match &body.held {
            Held::Memory(bytes) if bytes.len() <= PIECE => return Ok(work(bytes)),
            Held::Memory(_) => None,
            Held::File(_) => self.reading.acquire().await.ok(),
        };
        let worked = tokio::task::spawn_blocking(move || match body.held {
            Held::Memory(bytes) => Ok(work(&bytes)),
            Held::File(mut file) => {
                let mut bytes = Vec::new();
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
                Ok(work(&bytes))
            }
        });
        worked.await.map_err(std::io::Error::other).and_then(|worked| worked).map_err(host_failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(length: usize) -> futures_util::io::Cursor<Vec<u8>> {
        futures_util::io::Cursor::new((0..length).map(|n| u8::try_from(n % 251).unwrap_or_default()).collect())
    }

    #[tokio::test]
    async fn a_large_body_lies_in_a_file_without_a_name_and_is_read_back_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::default();
        for (length, in_file) in
            [(0, false), (PIECE, false), (IN_MEMORY, false), (IN_MEMORY + 1, true), (LARGEST, true)]
        {
            let held = spool.hold(body(length), folder.path(), LARGEST).await.unwrap().unwrap();
            assert_eq!(matches!(held.held, Held::File(_)), in_file, "{length}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            let wanted = body(length).into_inner();
            assert!(spool.with(held, move |bytes| bytes == wanted).await.unwrap(), "{length}");
        }
        assert!(spool.hold(body(1001), folder.path(), 1000).await.unwrap().is_none());
        assert_eq!(spool.budget.available_permits(), BUDGET);
    }

    #[tokio::test]
    async fn all_bodies_together_have_one_budget() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::default();
        let mut held = Vec::new();
        let refused = loop {
            match spool.hold(body(LARGEST), folder.path(), LARGEST).await {
                Ok(one) => held.push(one),
                Err(problem) => break problem,
            }
        };
        assert_eq!((held.len(), refused.code), (2, Code::Busy));
        // What is small goes through all the same.
        assert!(spool.hold(body(PIECE), folder.path(), LARGEST).await.unwrap().is_some());
        held.pop();
        assert!(spool.hold(body(LARGEST), folder.path(), LARGEST).await.unwrap().is_some());
    }
}
