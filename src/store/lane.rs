//! A thread that owns one SQLite connection, so that no task of the runtime ever waits for the disk.

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// How many calls wait at most; the next caller waits for a place.
const QUEUE: usize = 64;

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

#[derive(Debug, Clone)]
pub(super) struct Lane {
    work: mpsc::Sender<Work>,
}

impl Lane {
    /// The thread ends when the last handle is dropped.
    pub(super) fn start(name: &str, mut connection: Connection) -> Self {
        let (work, mut queue) = mpsc::channel::<Work>(QUEUE);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(work) = queue.blocking_recv() {
                work(&mut connection);
            }
        });
        if let Err(error) = thread {
            // Without its thread the queue is closed, and each call answers `Closed`.
            tracing::error!(error = %error, "can't start the store's thread");
        }
        Self { work }
    }

    /// A call that was begun is carried out even when its caller goes away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let boxed: Work = Box::new(move |connection| {
            let _ = reply.send(work(connection));
        });
        self.work.send(boxed).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}
