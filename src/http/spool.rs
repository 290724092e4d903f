//! The bodies of deliveries: whose they are is known only once they are whole, so what is held of all of them together
//! has one bound.

use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::{failed, late};
use crate::problem::{Code, Problem};

/// The largest body.
pub const LARGEST: usize = 25 * 1024 * 1024;
/// Bodies are counted in pieces of this size. The first of each is free, and held in memory: the number of connections
/// bounds them. What is larger goes to a file.
const PIECE: usize = 32 * 1024;
/// How many pieces are held in files at once: 64 MiB.
const BUDGET: usize = 2048;
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

fn host_failed(error: io::Error) -> Problem {
    if error.kind() == io::ErrorKind::StorageFull {
        return Problem::new(Code::DiskFull, "no space is left on the host's disk");
    }
    Problem::new(Code::Internal, format!("a body can't be kept: {error}"))
}

impl Spool {
    /// Takes a request's body, of at most `most` bytes. None: it is larger. `folder` has what is large.
    pub async fn take(&self, body: http_types::Body, folder: &Path, most: usize) -> Result<Option<Spooled>, Problem> {
        let taken = tokio::time::timeout(PATIENCE, self.hold(body.into_reader(), folder, most)).await;
        taken.map_err(|_| late())?
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
        let mut piece = vec![0; 8 * 1024];
        loop {
            let n = match body.read(&mut piece).await {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return Err(failed(&error, LARGEST)),
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
            if length > PIECE && file.is_none() {
                let folder = folder.to_owned();
                let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder)).await;
                let made = made.map_err(io::Error::other).and_then(|made| made).map_err(host_failed)?;
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

    /// Lets `work` see the whole body. One in a file is read into memory only where `check`, which reads it piece by
    /// piece, lets it be; None where it doesn't. That has a thread of its own.
    pub async fn with<T: Send + 'static>(
        &self,
        body: Spooled,
        check: impl FnOnce(&mut dyn Read) -> io::Result<bool> + Send + 'static,
        work: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<Option<T>, Problem> {
        let mut file = match body.held {
            Held::Memory(bytes) => return Ok(Some(work(&bytes))),
            Held::File(file) => file,
        };
        let _turn = self.reading.acquire().await.ok();
        let worked = tokio::task::spawn_blocking(move || {
            file.rewind()?;
            if !check(&mut file)? {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut bytes)?;
            Ok(Some(work(&bytes)))
        });
        worked.await.map_err(io::Error::other).and_then(|worked| worked).map_err(host_failed)
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
        for (length, in_file) in [(0, false), (1, false), (PIECE, false), (PIECE + 1, true), (LARGEST, true)] {
            let held = spool.hold(body(length), folder.path(), LARGEST).await.unwrap().unwrap();
            assert_eq!(matches!(held.held, Held::File(_)), in_file, "{length}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
            let wanted = body(length).into_inner();
            let read = spool.with(held, |_| Ok(true), move |bytes| bytes == wanted).await.unwrap();
            assert_eq!(read, Some(true), "{length}");
        }
        assert!(spool.hold(body(1001), folder.path(), 1000).await.unwrap().is_none());
        assert_eq!(spool.budget.available_permits(), BUDGET);
    }

    #[tokio::test]
    async fn a_large_body_that_nobody_answers_for_is_never_held_whole() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::default();
        let held = spool.hold(body(PIECE + 1), folder.path(), LARGEST).await.unwrap().unwrap();
        let check = |body: &mut dyn Read| Ok(io::copy(body, &mut io::sink())? != PIECE as u64 + 1);
        let read = spool.with(held, check, |_| unreachable!("it is not read")).await.unwrap();
        assert_eq!(read, None::<()>);
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
