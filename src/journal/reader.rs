//! A reader of the journal on libsystemd; it belongs to one thread.
//!
//! libsystemd learns of new files through inotify, of which a user has few, and journald posts its changes late. So a
//! follower looks by itself: for entries in the mapped files, and whether the journal's folders have changed.

use std::ffi::CStr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use regex::bytes::{Regex, RegexBuilder};
use systemd::journal::Journal as Handle;

use super::fields;
use super::files::{Files, read};
use super::join::{Forward, Output, Piece, goes_on};
use super::matches::{self, NO_PRIORITY, Source};
use super::order::order;
use super::{Entry, JournalError, Query};

/// How long a follower waits before it looks again; a look costs microseconds.
pub(super) const LOOK: Duration = Duration::from_millis(30);
/// In how many pieces before a place it is looked for the outputs that are in the middle of a line there, and how many
/// of such a line are taken.
pub(super) const PIECES: usize = 256;
/// How often the files are opened anew, a look apart, where one of them reads as damaged.
const TEARS: u32 = 100;
/// How old an entry is at most whose fields journald may still be linking, and how soon it is looked again whether it has
/// done so. It takes microseconds, but for a host that stands still.
const LINKED: Duration = Duration::from_secs(60);
const LINKING: Duration = Duration::from_millis(1);
/// How long it must be quiet until a follower seeks its place anew.
const QUIET: Duration = Duration::from_secs(1);
/// After how many entries it is looked what time it is and whether anybody listens.
const BEAT: u32 = 64;

pub(super) struct Reader {
    pub(super) handle: Handle,
    pattern: Option<Regex>,
    source: Source,
    pub(super) files: Files,
    /// It stands on an entry that was not read yet.
    unread: bool,
    /// It has read entries since it was at their end.
    moved: bool,
    /// When it read an entry, where it has not sought its place since.
    advanced: Option<Instant>,
    /// How many entries it has gone over.
    entries: u32,
    /// Whether anybody wants what it reads.
    listening: Rc<dyn Fn() -> bool>,
}

/// Where reading goes on.
#[derive(Clone)]
pub(super) enum Position {
    Head,
    Since(u64),
    At(String),
    Behind(String),
}

pub(super) fn compile(pattern: &str) -> Result<Regex, JournalError> {
    RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| JournalError::Pattern(Box::new(error)))
}

impl Reader {
    /// For what `query` selects. When `listening` says no it gives up, wherever it is.
    pub(super) fn open(
        folder: Option<&Path>,
        query: &Query,
        listening: impl Fn() -> bool + 'static,
    ) -> Result<Self, JournalError> {
        let pattern = query.grep.as_deref().map(compile).transpose()?;
        Self::of(folder, Source::Lines(query.select.clone(), query.priority), pattern, Rc::new(listening))
    }

    /// What Podman tells of health checks.
    pub(super) fn open_health(folder: Option<&Path>) -> Result<Self, JournalError> {
        Self::of(folder, Source::Health, None, Rc::new(|| true))
    }

    fn of(
        folder: Option<&Path>,
        source: Source,
        pattern: Option<Regex>,
        listening: Rc<dyn Fn() -> bool>,
    ) -> Result<Self, JournalError> {
        let mut files = Files::new(folder);
        let handle = files.open(&source)?;
        let (unread, moved, advanced, entries) = (false, false, None, 0);
        Ok(Self { handle, pattern, source, files, unread, moved, advanced, entries, listening })
    }

    /// Another one on the same files, which looks for nothing.
    pub(super) fn twin(&self) -> Result<Self, JournalError> {
        let handle = self.files.open_once(&self.source)?;
        let (source, files, listening) = (self.source.clone(), self.files.clone(), self.listening.clone());
        let (pattern, unread, moved, advanced, entries) = (None, false, false, None, 0);
        Ok(Self { handle, pattern, source, files, unread, moved, advanced, entries, listening })
    }

    /// Whether lines are looked for in which something is found.
    pub(super) fn searches(&self) -> bool {
        self.pattern.is_some()
    }

    pub(super) fn is_listened_to(&self) -> bool {
        (self.listening)()
    }

    /// Opens the files anew where others have come or gone before those that are open were read to their end: nothing
    /// more will be in these, and what was vacuumed was read.
    pub(super) fn renew(&mut self, position: &Position) -> Result<(), JournalError> {
        self.handle = self.files.open(&self.source)?;
        self.seek(position).map(drop)
    }

    /// An entry that is counted before all of its fields are linked is passed over by libsystemd until there is another
    /// one. Whoever seeks finds it.
    pub(super) fn settle(&mut self, position: &Position) -> Result<(), JournalError> {
        if self.advanced.is_some_and(|at| at.elapsed() > QUIET) {
            self.seek(position)?;
        }
        Ok(())
    }

    /// Goes to the next entry; false where there is none yet.
    pub(super) fn advance(&mut self) -> Result<bool, JournalError> {
        let more = std::mem::take(&mut self.unread) || self.handle.next().map_err(read)? > 0;
        if more {
            self.moved = true;
            self.count()?;
        } else if std::mem::take(&mut self.moved) {
            self.advanced = Some(Instant::now());
        }
        Ok(more)
    }

    /// Goes to the entry before; false where there is none.
    pub(super) fn retreat(&mut self) -> Result<bool, JournalError> {
        let more = self.handle.previous().map_err(read)? > 0;
        if more {
            self.count()?;
        }
        Ok(more)
    }

    fn count(&mut self) -> Result<(), JournalError> {
        self.entries = self.entries.wrapping_add(1);
        if self.is_beat() && !self.is_listened_to() { Err(JournalError::Ended) } else { Ok(()) }
    }

    /// Whether it is time to look at what is not looked at for each entry.
    pub(super) fn is_beat(&self) -> bool {
        self.entries.is_multiple_of(BEAT)
    }

    /// Does `work`, and again where a file was torn meanwhile.
    pub(super) fn untorn<T>(&mut self, work: impl Fn(&mut Self) -> Result<T, JournalError>) -> Result<T, JournalError> {
        let mut torn = 0;
        loop {
            match work(self) {
                Err(error) => self.mend(error, &mut torn)?,
                done => return done,
            }
        }
    }

    /// Goes on behind `position` where a follower's reading ended because a file was torn.
    pub(super) fn resume(
        &mut self,
        error: JournalError,
        torn: &mut u32,
        position: &Position,
    ) -> Result<(), JournalError> {
        self.mend(error, torn)?;
        self.untorn(|reader| reader.seek(position)).map(drop)
    }

    /// Opens the files anew where `error` says that one was torn and it was so fewer than TEARS times.
    fn mend(&mut self, error: JournalError, torn: &mut u32) -> Result<(), JournalError> {
        *torn += 1;
        if !error.is_torn() || *torn > TEARS {
            return Err(error);
        }
        std::thread::sleep(LOOK);
        self.unread = false;
        self.handle = self.files.open(&self.source)?;
        Ok(())
    }

    /// Goes to where reading begins. Lines that have begun before that and end behind it will be whole.
    pub(super) fn start(&mut self, position: &Position) -> Result<Forward, JournalError> {
        let mut joined = Forward::default();
        let own = self.seek(position)?;
        let position = match position {
            Position::Head => return Ok(joined),
            Position::At(_) | Position::Behind(_) if own => position.clone(),
            _ if self.advance()? => Position::At(self.handle.cursor().map_err(read)?),
            _ => position.clone(),
        };
        for piece in self.begun(&position)? {
            // What was too long for one line has been handed on up to here.
            joined.push(piece);
        }
        self.seek(&position)?;
        Ok(joined)
    }

    /// The pieces of the lines that have begun before an entry and end behind it, of each output the oldest first. The
    /// journal's index leads to them, however much lies between.
    pub(super) fn begun(&mut self, position: &Position) -> Result<Vec<Piece>, JournalError> {
        let (Source::Lines(select, _), Position::At(cursor) | Position::Behind(cursor)) =
            (self.source.clone(), position)
        else {
            return Ok(Vec::new());
        };
        let mut outputs: Vec<Output> = Vec::new();
        self.narrow(cursor, |handle| matches::pieces(handle, &select))?;
        for _ in 0..PIECES {
            let Some(piece) = self.before(position)? else { break };
            let output = piece.output();
            if !outputs.contains(&output) {
                outputs.push(output);
            }
        }
        let mut all = Vec::new();
        // Where they are more than may be unfinished, the newest are the likeliest to go on.
        for output in outputs.into_iter().rev() {
            self.narrow(cursor, |handle| matches::output(handle, &output))?;
            let mut line = Vec::new();
            while line.len() < PIECES
                && let Some(piece) = self.before(position)?
                && piece.partial
            {
                line.push(self.piece()?);
            }
            all.extend(line.into_iter().rev());
        }
        self.widen(cursor)?;
        Ok(all)
    }

    /// From here on only what `add` matches is read, from around a cursor.
    pub(super) fn narrow(
        &mut self,
        cursor: &str,
        add: impl FnOnce(&mut Handle) -> std::io::Result<()>,
    ) -> Result<(), JournalError> {
        self.handle.match_flush().map_err(read)?;
        add(&mut self.handle).map_err(read)?;
        self.handle.seek_cursor(cursor).map_err(no_cursor)
    }

    /// From here on everything is read again, from around a cursor.
    pub(super) fn widen(&mut self, cursor: &str) -> Result<(), JournalError> {
        let source = self.source.clone();
        self.narrow(cursor, |handle| source.add(handle))
    }

    /// The next entry back that lies before `position`.
    pub(super) fn before(&mut self, position: &Position) -> Result<Option<Piece>, JournalError> {
        while self.handle.previous().map_err(read)? > 0 {
            let piece = self.outline()?;
            if !matches!(position, Position::At(cursor) if *cursor == piece.entry.cursor) {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// Goes to a place; whether it is an entry's that is there is returned.
    pub(super) fn seek(&mut self, position: &Position) -> Result<bool, JournalError> {
        self.unread = false;
        self.advanced = None;
        match position {
            Position::Head => self.handle.seek_head().map_err(read)?,
            Position::Since(since) => self.handle.seek_realtime_usec(*since).map_err(read)?,
            Position::At(cursor) | Position::Behind(cursor) => {
                self.handle.seek_cursor(cursor.as_str()).map_err(no_cursor)?;
                // The next entry is the cursor's own, or the first behind it where that is gone.
                if self.handle.next().map_err(read)? > 0 {
                    let own = self.handle.test_cursor(cursor.as_str()).map_err(no_cursor)?;
                    self.unread = !own || matches!(position, Position::At(_));
                    return Ok(own);
                }
            }
        }
        Ok(false)
    }

    /// Whether the entry that it stands on ends a line in which nothing is found, unless the line has begun with other
    /// entries. What can be said of most entries is said by this one field.
    pub(super) fn passes(&mut self) -> Result<bool, JournalError> {
        let Self { handle, pattern: Some(pattern), .. } = self else { return Ok(false) };
        let finds = |text: &[u8]| pattern.is_match(text);
        field(handle, c"MESSAGE", |message| {
            // It is being written.
            let Some(message) = message else { return false };
            // Whether it is a container's, of which the line's end is none of it, is not known.
            let line = message.strip_suffix(b"\n").unwrap_or(message);
            !goes_on(message.len()) && !finds(line) && (line.len() == message.len() || !finds(message))
        })
    }

    /// Calls `f` with the output that wrote the entry.
    pub(super) fn with_output<T>(&mut self, f: impl FnOnce(Option<&[u8]>, u8) -> T) -> Result<T, JournalError> {
        let priority = self.priority()?;
        field(&mut self.handle, c"CONTAINER_ID_FULL", |container| f(container, priority))
    }

    fn priority(&mut self) -> Result<u8, JournalError> {
        let read = |text: Option<&[u8]>| std::str::from_utf8(text?).ok()?.parse().ok();
        Ok(field(&mut self.handle, c"PRIORITY", read)?.unwrap_or(NO_PRIORITY))
    }

    pub(super) fn has(&mut self, name: &CStr) -> Result<bool, JournalError> {
        field(&mut self.handle, name, |value| value.is_some())
    }

    pub(super) fn text(&mut self, name: &CStr) -> Result<Option<String>, JournalError> {
        field(&mut self.handle, name, |value| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    pub(super) fn cursor(&self) -> Result<String, JournalError> {
        self.handle.cursor().map_err(read)
    }

    pub(super) fn time(&self) -> Result<u64, JournalError> {
        self.handle.timestamp_usec().map_err(read)
    }

    /// Whose line it is, and whether more of that follows; its text is left in the journal.
    pub(super) fn outline(&mut self) -> Result<Piece, JournalError> {
        self.whole(false)
    }

    pub(super) fn piece(&mut self) -> Result<Piece, JournalError> {
        self.whole(true)
    }

    /// The entry that it stands on, once journald has written all of it. What a journald that was killed has left will
    /// never be whole.
    fn whole(&mut self, with_text: bool) -> Result<Piece, JournalError> {
        let begun = Instant::now();
        loop {
            let (piece, is_whole) = fields::entry(&mut self.handle, with_text)?;
            let age = Duration::from_micros(now().saturating_sub(piece.entry.time));
            if is_whole || age.max(begun.elapsed()) > LINKED || !self.is_listened_to() {
                return Ok(piece);
            }
            std::thread::sleep(LINKING);
        }
    }

    /// Whether the line is one of those that are asked for.
    pub(super) fn wanted(&self, query: &Query, entry: &Entry) -> bool {
        is_since(query, entry)
            && query.until.is_none_or(|until| entry.time <= until)
            && query.before.as_ref().is_none_or(|end| order(&entry.cursor, end).is_lt())
            && query.priority.is_none_or(|most| entry.priority <= most)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&entry.message))
    }
}

/// What `f` makes of a field of the entry that `handle` stands on; of none, where that has no such field.
fn field<T>(handle: &mut Handle, name: &CStr, f: impl FnOnce(Option<&[u8]>) -> T) -> Result<T, JournalError> {
    match handle.get_data(name) {
        Ok(field) => Ok(f(field.as_ref().and_then(|field| field.value()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(f(None)),
        Err(error) => Err(read(error)),
    }
}

/// Why a cursor leads nowhere: it is none, where it wasn't the file that was torn.
pub(super) fn no_cursor(error: systemd::Error) -> JournalError {
    match read(error) {
        torn if torn.is_torn() => torn,
        _ => JournalError::Cursor,
    }
}

impl Position {
    pub(super) fn forward(query: &Query) -> Self {
        match (&query.cursor, query.since, &query.behind) {
            (Some(cursor), ..) if query.including => Self::At(cursor.clone()),
            (Some(cursor), ..) => Self::Behind(cursor.clone()),
            (None, Some(since), _) => Self::Since(since),
            (None, None, Some(begin)) => Self::Behind(begin.clone()),
            (None, None, None) => Self::Head,
        }
    }
}

pub(super) fn is_since(query: &Query, entry: &Entry) -> bool {
    query.since.is_none_or(|since| entry.time >= since)
        && query.behind.as_ref().is_none_or(|begin| order(&entry.cursor, begin).is_gt())
}

/// Microseconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Error;

    use nix::libc::{EBADMSG, EIO};

    use super::*;

    #[test]
    fn what_was_torn_is_read_again_and_what_fails_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::open_health(Some(folder.path())).unwrap();
        for (code, needed, fails, times) in
            [(EBADMSG, 3, false, 3), (EBADMSG, u32::MAX, true, TEARS + 1), (EIO, 3, true, 1)]
        {
            let tried = Cell::new(0);
            let done = reader.untorn(|_| {
                tried.set(tried.get() + 1);
                if tried.get() < needed { Err(read(Error::from_raw_os_error(code))) } else { Ok(()) }
            });
            assert_eq!((done.is_err(), tried.get()), (fails, times), "{code}");
        }
    }
}
