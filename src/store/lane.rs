//! Threads that own one SQLite connection each, so that no task of the runtime ever waits for the disk.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::disk::Disk;

/// How many calls wait at most; the next caller waits for a place.
const QUEUE: usize = 64;

fn start<W: Send + 'static>(name: &str, work: impl FnOnce(mpsc::Receiver<W>) + Send + 'static) -> mpsc::Sender<W> {
    let (sender, queue) = mpsc::channel(QUEUE);
    // The thread ends when the last handle is dropped.
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(queue)) {
        // Without its thread the queue is closed, and each call answers `Closed`.
        tracing::error!(error = %error, "can't start the store's thread");
    }
    sender
}

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Whoever reads, one after the other, beside the writer.
#[derive(Debug, Clone)]
pub(super) struct Reader(mpsc::Sender<Read>);

impl Reader {
    pub(super) fn start(connection: Connection) -> Self {
        Self(start("store-read", move |mut queue: mpsc::Receiver<Read>| {
            while let Some(read) = queue.blocking_recv() {
                read(&connection);
            }
        }))
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let read: Read = Box::new(move |connection| {
            let _ = reply.send(work(connection));
        });
        self.0.send(read).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

type Failure = Arc<rusqlite::Error>;
/// Answers the caller, who is told nothing before the commit.
type Answer = Box<dyn FnOnce(Result<(), Failure>)>;
/// What became of a caller's work.
struct Worked {
    answer: Answer,
    /// One that came from SQLite.
    failure: Option<Failure>,
    /// There is something of it to be committed.
    wrote: bool,
}
/// Does the caller's work in the transaction, or learns that there is none.
type Write = Box<dyn FnOnce(Result<&Transaction<'_>, Failure>) -> Worked + Send>;

/// How it is known that work has written something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    /// Rows were changed.
    Rows,
    /// It always does, but no row.
    Always,
}

/// Whoever writes. What waits at the same time is committed together, so that fifty callers wait for one sync of the disk
/// and not for fifty; each one's work is still all or nothing.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Write>);

impl Writer {
    pub(super) fn start(mut connection: Connection, disk: Disk) -> Self {
        Self(start("store-write", move |mut queue| {
            let mut together = Vec::with_capacity(QUEUE);
            while queue.blocking_recv_many(&mut together, QUEUE) > 0 {
                commit(&mut connection, together.drain(..), &disk);
            }
        }))
    }

    /// Work that was begun is carried out even when its caller goes away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        writes: Writes,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let write: Write = Box::new(move |transaction| {
            let changes = || transaction.as_ref().map_or(0, |transaction| transaction.total_changes());
            let before = changes();
            let done = transaction.clone().map_err(StoreError::Sql);
            let done = done.and_then(|transaction| in_savepoint(transaction, work));
            // What was rolled back counts as a change, too.
            let wrote = done.is_ok() && (writes == Writes::Always || changes() != before);
            let failure = match &done {
                Err(StoreError::Sql(failure)) => Some(failure.clone()),
                _ => None,
            };
            let answer: Answer = Box::new(move |committed| {
                let _ = reply.send(done.and_then(|value| committed.map(|()| value).map_err(StoreError::Sql)));
            });
            Worked { answer, failure, wrote }
        });
        self.0.send(write).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

fn in_savepoint<T>(
    transaction: &Transaction<'_>,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    transaction.execute_batch("SAVEPOINT work")?;
    let done = work(transaction);
    if !transaction.is_autocommit() {
        transaction.execute_batch(if done.is_ok() { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" })?;
    }
    done
}

fn commit(connection: &mut Connection, together: impl Iterator<Item = Write>, disk: &Disk) {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Arc::new);
    let mut usable = transaction.as_ref().map_err(Arc::clone);
    let mut answers = Vec::with_capacity(QUEUE);
    let mut anything = false;
    for write in together {
        let Worked { answer, failure, wrote } = write(usable.clone());
        answers.push(answer);
        anything |= wrote;
        // A disk that is full or fails has rolled everything back, and what was done before is lost, too.
        if let (Ok(transaction), Some(failure)) = (&usable, failure)
            && transaction.is_autocommit()
        {
            usable = Err(failure);
        }
    }
    let committed = match usable.map(drop) {
        Ok(()) => transaction.and_then(|transaction| transaction.commit().map_err(Arc::new)),
        Err(failure) => Err(failure),
    };
    disk.note(&committed, anything);
    for answer in answers {
        answer(committed.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> (tempfile::TempDir, Writer, Connection) {
        writer_to(Disk::default())
    }

    fn writer_to(disk: Disk) -> (tempfile::TempDir, Writer, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let open = || Connection::open(folder.path().join("store.db")).unwrap();
        let connection = open();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE word (text TEXT UNIQUE)").unwrap();
        // However long this machine takes for what is done meanwhile.
        connection.busy_timeout(std::time::Duration::from_secs(600)).unwrap();
        let writer = Writer::start(connection, disk);
        let other = open();
        (folder, writer, other)
    }

    fn words(connection: &Connection) -> Vec<String> {
        let mut all = connection.prepare("SELECT text FROM word ORDER BY text").unwrap();
        all.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    async fn put(writer: &Writer, text: String) -> Result<(), StoreError> {
        writer
            .run(Writes::Rows, move |transaction| {
                transaction.execute("INSERT INTO word VALUES (?1)", [text.as_str()])?;
                // What fails after it has written leaves nothing.
                if text == "bad" { Err(StoreError::Closed) } else { Ok(()) }
            })
            .await
    }

    #[tokio::test]
    async fn what_waits_together_is_committed_together_and_fails_alone() {
        let (_folder, writer, other) = writer();
        // Whoever holds the lock makes them all wait, so that they come together.
        other.execute_batch("BEGIN IMMEDIATE; INSERT INTO word VALUES ('first')").unwrap();
        let texts = ["a", "bad", "b", "a", "c"].map(str::to_owned);
        let all = texts.map(|text| {
            let writer = writer.clone();
            tokio::spawn(async move { put(&writer, text).await })
        });
        // Each of them runs until it waits for its answer; those that the writer hasn't taken yet wait together.
        tokio::task::yield_now().await;
        other.execute_batch("COMMIT").unwrap();
        let mut done = Vec::new();
        for each in all {
            done.push(each.await.unwrap().is_ok());
        }
        assert_eq!(done, [true, false, true, false, true]);
        assert_eq!(words(&other), ["a", "b", "c", "first"]);
    }

    #[tokio::test]
    async fn a_disk_that_is_full_acknowledges_nothing() {
        let (_folder, writer, other) = writer();
        let limit = |transaction: &Transaction<'_>| Ok(transaction.execute_batch("PRAGMA max_page_count = 4")?);
        writer.run(Writes::Rows, limit).await.unwrap();
        let all = (0..6).map(|number| {
            let writer = writer.clone();
            let text = if number == 3 { "x".repeat(100_000) } else { number.to_string() };
            tokio::spawn(async move { (text.clone(), put(&writer, text).await) })
        });
        let mut acknowledged = Vec::new();
        for each in all.collect::<Vec<_>>() {
            match each.await.unwrap() {
                (text, Ok(())) => acknowledged.push(text),
                (_, Err(error)) => assert_eq!(error.problem().code, crate::problem::Code::DiskFull, "{error:?}"),
            }
        }
        acknowledged.sort();
        assert_eq!(words(&other), acknowledged);
        assert!(acknowledged.len() < 6);
        put(&writer, "later".to_owned()).await.unwrap();
    }

    #[tokio::test]
    async fn only_what_was_written_tells_that_the_disk_takes_something() {
        let disk = Disk::default();
        let (_folder, writer, _other) = writer_to(disk.clone());
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        disk.note(&Err(Arc::new(rusqlite::Error::SqliteFailure(full, None))), true);
        writer.run(Writes::Rows, |_| Ok(())).await.unwrap();
        let nothing = |transaction: &Transaction<'_>| Ok(transaction.execute("DELETE FROM word", [])?);
        assert_eq!(writer.run(Writes::Rows, nothing).await.unwrap(), 0);
        put(&writer, "bad".to_owned()).await.unwrap_err();
        assert!(disk.failure().is_some());
        put(&writer, "good".to_owned()).await.unwrap();
        assert!(disk.failure().is_none());
    }
}
