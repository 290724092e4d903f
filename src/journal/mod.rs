//! journald: history and following of a service's, a release's or a deployment's lines, by cursor.
//!
//! Each reader is a thread of its own with a bounded channel: libsystemd blocks, and a slow listener must stop the reader
//! instead of filling the memory. When nobody listens there is no reader.

mod ends;
mod fields;
mod files;
mod follow;
mod health;
mod join;
mod mark;
mod matches;
mod order;
mod page;
mod places;
mod printed;
mod reader;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub use printed::until_read;

use crate::names::{Actor, ContainerId, DeploymentId, ReleaseName, ServiceName};
use crate::problem::{Code, Problem};
use places::Places;
use reader::Reader;

/// The longest line that is joined of pieces; what is longer comes in several.
pub const MAX_LINE: usize = 1024 * 1024;

/// The field `state` of the agent's last entry of a deployment is one of these: behind it its story is over.
pub const FINAL: [&str; 4] = ["live", "failed", "cancelled", "superseded"];

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

/// Why the journal can't be read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// libsystemd.
    #[error("the journal can't be read")]
    Read(#[source] std::io::Error),
    /// A cursor that isn't one.
    #[error("that is no cursor of this journal")]
    Cursor,
    /// A pattern that isn't a regular expression.
    #[error("the pattern is no regular expression")]
    Pattern(#[source] Box<regex::Error>),
    /// As many readers as there may be are at work.
    #[error("too many read the journal at once")]
    Busy,
    /// The reading thread ended, or nobody listened to it any more.
    #[error("the journal's reader ended")]
    Ended,
}

impl JournalError {
    /// Whether the file that was read was just being changed: journald writes, cuts and renames its files under whoever
    /// reads them, and what is half written reads as damaged. Opened anew, it is there whole.
    fn is_torn(&self) -> bool {
        matches!(self, Self::Read(error) if error.raw_os_error() == Some(nix::libc::EBADMSG))
    }

    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Cursor | Self::Pattern(_) => Problem::new(Code::BadRequest, crate::problem::chain(self)),
            Self::Busy => Problem::new(Code::Exhausted, self.to_string())
                .with_hint("close a log stream, or wait until a search has ended; then try again"),
            Self::Read(_) | Self::Ended => Problem::new(Code::JournalUnavailable, self.to_string())
                .with_hint("`podkeeper doctor` on the host tells what is wrong"),
        }
    }
}

/// Whose lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// Those of all releases of a service, and of these of its builds.
    Service(ServiceName, Vec<DeploymentId>),
    /// Those of one release.
    Release(ReleaseName),
    /// Those of one release, and what Podman itself says of starting it.
    Unit(ReleaseName),
    /// The whole story of a deployment: the agent's steps and the build's lines.
    Deployment(DeploymentId),
    /// The build's lines alone.
    Build(DeploymentId),
    /// The one entry of the agent's whose field `mark` is this.
    Mark(String),
}

/// Who reads: places are counted by that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum By {
    /// The agent, for what it does itself. It waits for nobody.
    Agent,
    /// Somebody who is known.
    Actor(Actor),
    /// Whoever else; all of them are one.
    #[default]
    Anybody,
}

/// Which way a page goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the start, or behind the cursor, on.
    Forward,
    /// From the end, or before the cursor, back.
    #[default]
    Backward,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// Who reads.
    pub by: By,
    /// Whose lines.
    pub select: Select,
    /// Not before this moment, in microseconds since 1970.
    pub since: Option<u64>,
    /// Not after this moment.
    pub until: Option<u64>,
    /// Only what lies behind the entry at this cursor, and before that at the other, whatever the clock said; they need not be
    /// the query's own.
    pub behind: Option<String>,
    /// The other.
    pub before: Option<String>,
    /// Beyond this line, in the query's direction.
    pub cursor: Option<String>,
    /// Forward: that line itself too.
    pub including: bool,
    /// Which way.
    pub direction: Direction,
    /// How many lines at most. A page of very long lines has fewer.
    pub lines: usize,
    /// Only lines that this regular expression finds something in.
    pub grep: Option<String>,
    /// Only lines of this syslog priority or a graver one.
    pub priority: Option<u8>,
}

impl Query {
    /// The newest 200 lines of `select`.
    #[must_use]
    pub fn newest(select: Select) -> Self {
        Self {
            by: By::default(),
            select,
            since: None,
            until: None,
            behind: None,
            before: None,
            cursor: None,
            including: false,
            direction: Direction::Backward,
            lines: 200,
            grep: None,
            priority: None,
        }
    }
}

/// A query that is to be followed. Its place in the journal is fixed, however late somebody begins to read.
#[derive(Debug, Clone)]
pub struct Begun {
    /// What is behind that place.
    query: Query,
    /// And so many of the newest lines up to it.
    back: usize,
}

impl From<Query> for Begun {
    /// Forward from where the query begins.
    fn from(query: Query) -> Self {
        Self { query, back: 0 }
    }
}

impl Begun {
    /// What of the journal it is; where it begins stays as it is.
    pub fn query(&mut self) -> &mut Query {
        &mut self.query
    }

    /// All up to this line was read.
    pub fn read(&mut self, line: &Entry) {
        self.query.cursor = Some(line.cursor.clone());
        self.query.including = false;
        self.back = 0;
    }
}

/// What follows.
struct Start {
    /// At first these, oldest first.
    lines: Vec<Entry>,
    /// Then this, forward.
    rest: Query,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies.
    pub cursor: String,
    /// When it was written, in microseconds since 1970.
    pub time: u64,
    /// Its syslog priority; 6 for what a program prints, 3 for what it prints as an error.
    pub priority: u8,
    /// The unit that it came from.
    pub unit: Option<String>,
    /// The program that it came from, as syslog names it.
    pub identifier: Option<String>,
    /// The process that it came from.
    pub pid: Option<u32>,
    /// Its bytes, as they were written, without the line's end.
    pub message: Vec<u8>,
}

impl Entry {
    /// How many bytes it takes as JSON at most, be it text or not.
    fn weight(&self) -> usize {
        /// What stands around the line.
        const AROUND: usize = 320;
        let message = &self.message;
        let controls = message.iter().filter(|byte| **byte < b' ').count();
        let escaped = if std::str::from_utf8(message).is_ok() {
            message.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count()
        } else {
            // Each byte may be replaced by three, and all of them stand beside that in base64.
            message.len() * 2 + message.len().div_ceil(3) * 4
        };
        AROUND + message.len() + controls * 5 + escaped
    }
}

/// Some lines, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The lines.
    pub entries: Vec<Entry>,
    /// Where the next page in the same direction goes on; none at the end.
    pub next: Option<String>,
}

/// Whether `pattern` is one that a query takes.
pub fn check(pattern: &str) -> Result<(), JournalError> {
    reader::compile(pattern).map(drop)
}

/// What a container's health check said; Podman writes it into the journal, where it costs no Podman to hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSaid {
    /// The container's name.
    pub container: String,
    /// Whether it passed.
    pub healthy: bool,
}

/// The journal.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Journal files elsewhere than the system's.
    folder: Option<PathBuf>,
    followers: Arc<Places>,
    looks: Arc<Places>,
    seeks: Arc<Places>,
}

impl Journal {
    /// The system's journal, or the files in `folder`.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        let [followers, looks, seeks] = [FOLLOWERS, LOOKS, SEEKS].map(|(all, each)| Arc::new(Places::new(all, each)));
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
        places: &Places,
        by: &By,
        work: impl FnOnce(Option<&Path>, Box<dyn Fn() -> bool>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let place = places.take(by).await?;
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

/// Whose health check may have said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// That of the container with this id: it was begun.
    Container(ContainerId),
    /// That of the container with this name: it was run.
    Named(String),
    /// Anybody's.
    Any,
}

/// Tells a reader that there is something to read.
#[derive(Debug)]
pub struct Bell(SyncSender<Checked>);

impl Bell {
    /// Rings. What doesn't fit any more goes with what is read then.
    pub fn ring(&self, checked: Checked) {
        let _ = self.0.try_send(checked);
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
