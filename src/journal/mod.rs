//! journald: history and following of a service's, a release's or a deployment's lines, by cursor.
//!
//! Each reader is a thread of its own with a bounded channel: libsystemd blocks, and a slow listener must stop the reader
//! instead of filling the memory. When nobody listens there is no reader.

mod checked;
mod ends;
mod entry;
mod error;
mod fields;
mod files;
mod follow;
mod health;
mod join;
mod mark;
mod matches;
mod order;
mod page;
mod permits;
mod printed;
mod query;
mod reader;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub use checked::{Bell, Checked, HealthSaid};
pub use entry::{Entry, MAX_LINE, Page};
pub use error::JournalError;
pub use printed::until_read;
pub use query::{Begun, By, Direction, FINAL, Query, Select};

use permits::ReaderPermits;
use query::Start;
use reader::Reader;

/// How many batches of lines wait for a slow listener; one may hold a single long line.
const WINDOW: usize = 1;
/// How many may follow at once, and how many of these are one's: each has a thread and holds the journal's files open.
const FOLLOWERS: (usize, usize) = (128, 64);
/// How many look back at once, and how many of these are one's: each may hold a page, and takes a processor.
const LOOKS: (usize, usize) = (8, 4);
/// How many find their place at once, which takes milliseconds.
const SEEKS: (usize, usize) = (8, 4);
/// How many health checks that were begun wait until it is looked what they said.
const RINGS: usize = 64;
/// A reader's stack.
const STACK: usize = 512 * 1024;

/// Whether `pattern` is one that a query takes.
pub fn check(pattern: &str) -> Result<(), JournalError> {
    reader::compile(pattern).map(drop)
}

/// The journal.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Journal files elsewhere than the system's.
    folder: Option<PathBuf>,
    followers: Arc<ReaderPermits>,
    looks: Arc<ReaderPermits>,
    seeks: Arc<ReaderPermits>,
}

impl Journal {
    /// The system's journal, or the files in `folder`.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        let [followers, looks, seeks] =
            [FOLLOWERS, LOOKS, SEEKS].map(|(all, each)| Arc::new(ReaderPermits::new(all, each)));
        Self { folder, followers, looks, seeks }
    }

    /// One page. Whoever drops this ends the search.
    pub async fn query(&self, query: Query) -> Result<Page, JournalError> {
        let by = query.by.clone();
        self.beside(&self.looks, &by, move |folder, listening| Reader::open(folder, &query, listening)?.page(&query))
            .await
    }

    /// Does `work` on a thread for that, which is told whether anybody waits for it still.
    async fn beside<T: Send + 'static>(
        &self,
        permits: &ReaderPermits,
        by: &By,
        work: impl FnOnce(Option<&Path>, Box<dyn Fn() -> bool>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let place = permits.take(by).await?;
        let folder = self.folder.clone();
        let left = CancellationToken::new();
        let _waiting = left.clone().drop_guard();
        let working = move || {
            let _place = place;
            work(folder.as_deref(), Box::new(move || !left.is_cancelled()))
        };
        tokio::task::spawn_blocking(working).await.map_err(|_| JournalError::Ended)?
    }

    /// The same query, to follow: the newest lines that it wants of those that are there, and what comes. A cursor or a
    /// pattern that is none is refused here, before anything is streamed. Nothing is searched yet.
    pub async fn begin(&self, query: Query) -> Result<Begun, JournalError> {
        if let Some(pattern) = &query.grep {
            check(pattern)?;
        }
        // What can't be wrong needs no look.
        if query.direction == Direction::Forward && query.cursor.is_none() {
            return Ok(query.into());
        }
        // It is no line's text that is looked at.
        let whose = Query { grep: None, ..query.clone() };
        let by = query.by.clone();
        self.beside(&self.seeks, &by, move |folder, listening| Reader::open(folder, &whose, listening)?.begin(&query))
            .await
    }

    /// Looks back for the newest lines.
    async fn look(&self, begun: Begun) -> Result<Start, JournalError> {
        if begun.back == 0 {
            return Ok(Start { lines: Vec::new(), rest: begun.query });
        }
        let by = begun.query.by.clone();
        self.beside(&self.looks, &by, move |folder, listening| {
            Reader::open(folder, &begun.query, listening)?.look(&begun)
        })
        .await
    }

    /// The lines from where it begins on, forward, as they come, until the stream is dropped. With a cursor the first line
    /// is the one behind it, without a gap. A deployment's end with the agent's last entry of it, wanted or not.
    pub fn follow(&self, begun: Begun) -> impl Stream<Item = Result<Entry, JournalError>> + Send + use<> {
        self.lines(begun, true)
    }

    /// Those of them that are there already.
    pub fn read(&self, begun: Begun) -> impl Stream<Item = Result<Entry, JournalError>> + Send + use<> {
        self.lines(begun, false)
    }

    fn lines(&self, begun: Begun, more: bool) -> impl Stream<Item = Result<Entry, JournalError>> + Send + use<> {
        let this = self.clone();
        let batches = futures_util::stream::once(async move { this.batches(begun, more).await }).flatten();
        batches.flat_map(|batch| {
            let (lines, error) = match batch {
                Ok(lines) => (lines, None),
                Err(error) => (Vec::new(), Some(error)),
            };
            futures_util::stream::iter(lines.into_iter().map(Ok).chain(error.map(Err)))
        })
    }

    /// `more`: those that come, too.
    async fn batches(self, begun: Begun, more: bool) -> BoxStream<'static, Result<Vec<Entry>, JournalError>> {
        let at_once = |batch| futures_util::stream::once(std::future::ready(batch));
        match self.look(begun).await {
            Ok(Start { lines, rest }) => {
                let rest = futures_util::stream::once(async move { self.read_on(rest, more).await }).flatten();
                at_once(Ok(lines)).chain(rest).boxed()
            }
            Err(error) => at_once(Err(error)).boxed(),
        }
    }

    async fn read_on(self, query: Query, more: bool) -> ReceiverStream<Result<Vec<Entry>, JournalError>> {
        let place = match self.followers.take(&query.by).await {
            Ok(place) => place,
            Err(error) => {
                let (lines, receiver) = mpsc::channel(1);
                let _ = lines.try_send(Err(error));
                return ReceiverStream::new(receiver);
            }
        };
        let folder = self.folder;
        spawn(move |lines| {
            // Held until the reader has ended.
            let _place = place;
            let listened_to = lines.clone();
            Reader::open(folder.as_deref(), &query, move || !listened_to.is_closed())?
                .follow(&query, more, |batch| lines.blocking_send(Ok(batch)).is_ok())
        })
    }

    /// What health checks said in the last seconds, and what they say from now on: whoever hears that one was run rings the
    /// bell, and what it said comes as soon as journald has it. Without its bell the stream ends.
    pub fn health(&self) -> (Bell, impl Stream<Item = Result<HealthSaid, JournalError>> + use<>) {
        let folder = self.folder.clone();
        let (bell, rung) = sync_channel(RINGS);
        let said = spawn(move |lines| {
            Reader::open_health(folder.as_deref())?.follow_health(|said| lines.blocking_send(Ok(said)).is_ok(), &rung)
        });
        (Bell(bell), said)
    }
}

/// A thread of its own that reads, and what it reads.
fn spawn<T: Send + 'static>(
    read: impl FnOnce(&mpsc::Sender<Result<T, JournalError>>) -> Result<(), JournalError> + Send + 'static,
) -> ReceiverStream<Result<T, JournalError>> {
    let (lines, receiver) = mpsc::channel(WINDOW);
    let spawned = std::thread::Builder::new().name("journal".into()).stack_size(STACK).spawn({
        let lines = lines.clone();
        move || {
            if let Err(error) = read(&lines) {
                let _ = lines.blocking_send(Err(error));
            }
        }
    });
    if let Err(error) = spawned {
        let _ = lines.try_send(Err(JournalError::Read(error)));
    }
    ReceiverStream::new(receiver)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::names::{Actor, DeploymentId};

    #[tokio::test]
    async fn whoever_begins_to_follow_waits_for_nobody_who_searches() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(Some(folder.path().to_owned()));
        let by = By::Actor(Actor::Token("one".parse().unwrap()));
        let mut held = Vec::new();
        for _ in 0..LOOKS.1 {
            held.push(journal.looks.take(&by).await.unwrap());
        }
        let query = Query { by, grep: Some("never".into()), ..Query::newest(Select::Build(DeploymentId(1))) };
        journal.begin(query.clone()).await.unwrap();
        assert!(matches!(
            journal.begin(Query { grep: Some("(".into()), ..query }).await,
            Err(JournalError::Pattern(_))
        ));
    }

    #[tokio::test]
    async fn a_search_ends_when_nobody_waits_for_it_and_leaves_its_place() {
        let journal = Journal::new(None);
        let by = By::Actor(Actor::Token("one".parse().unwrap()));
        for _ in 0..LOOKS.1 {
            let (begins, begun) = channel();
            let (ends, ended) = channel();
            let searching = tokio::spawn({
                let (journal, by) = (journal.clone(), by.clone());
                async move {
                    let search = move |_: Option<&Path>, listening: Box<dyn Fn() -> bool>| {
                        begins.send(()).unwrap();
                        while listening() {
                            std::thread::yield_now();
                        }
                        ends.send(()).unwrap();
                        Err::<(), _>(JournalError::Ended)
                    };
                    journal.beside(&journal.looks, &by, search).await
                }
            });
            tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
            searching.abort();
            tokio::task::spawn_blocking(move || ended.recv().unwrap()).await.unwrap();
        }
        for _ in 0..LOOKS.1 {
            journal.looks.take(&by).await.unwrap();
        }
    }
}
