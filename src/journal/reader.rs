//! A reader of the journal on libsystemd; it belongs to one thread.
//!
//! libsystemd learns of new files through inotify, of which a user has few, and journald posts its changes late. So a
//! follower looks by itself: for entries in the mapped files, and whether the journal's folders have changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use regex::bytes::{Regex, RegexBuilder};
use systemd::journal::Journal as Handle;

use super::files::{Files, read};
use super::join::{Backward, Forward, Output, Piece, goes_on};
use super::matches::{self, Source};
use super::{Direction, Entry, FINAL, JournalError, Page, Query, Select};
use crate::names::ReleaseName;

/// How long a page may search. A pattern that is never found must not read the whole journal in one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// What makes a page full, however few its lines are: so many bytes of what they are told with.
const PAGE: usize = 8 * 1024 * 1024;
/// How long a follower waits before it looks again; a look costs microseconds.
const LOOK: Duration = Duration::from_millis(30);
/// How much text goes on together.
const BATCH: usize = 32 * 1024;
/// In how many pieces before a place it is looked for the outputs that are in the middle of a line there, and how many
/// of such a line are taken.
const PIECES: usize = 256;
/// How often the files are opened anew, a look apart, where one of them reads as damaged.
const TEARS: u32 = 100;
/// How long it must be quiet until a follower seeks its place anew.
const QUIET: Duration = Duration::from_secs(1);

pub(super) struct Reader {
    pub(super) handle: Handle,
    pattern: Option<Regex>,
    source: Source,
    pub(super) files: Files,
    /// It stands on an entry that was not read yet.
    unread: bool,
    /// When it read an entry, where it has not sought its place since.
    advanced: Option<Instant>,
}

/// Where reading goes on.
#[derive(Clone)]
pub(super) enum Place {
    Head,
    Since(u64),
    At(String),
    Behind(String),
}

/// What a look back from the end has found, oldest first.
struct Found<T> {
    lines: Vec<T>,
    /// There are more.
    more: bool,
    /// How far it came until it was tired.
    last: Option<String>,
}

/// Lines that go on together.
#[derive(Default)]
struct Batch {
    lines: Vec<Entry>,
    bytes: usize,
}

impl Batch {
    /// Takes a line; whether they are enough is returned.
    fn push(&mut self, entry: Entry) -> bool {
        self.bytes += entry.message.len();
        self.lines.push(entry);
        self.bytes >= BATCH || self.lines.len() >= BATCH / 256
    }

    fn take(&mut self) -> Vec<Entry> {
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }
}

pub(super) fn compile(pattern: &str) -> Result<Regex, JournalError> {
    RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| JournalError::Pattern(Box::new(error)))
}

impl Reader {
    pub(super) fn open(folder: Option<&Path>, query: &Query) -> Result<Self, JournalError> {
        let pattern = query.grep.as_deref().map(compile).transpose()?;
        Self::of(folder, Source::Lines(query.select.clone()), pattern)
    }

    /// What Podman tells of health checks.
    pub(super) fn open_health(folder: Option<&Path>) -> Result<Self, JournalError> {
        Self::of(folder, Source::Health, None)
    }

    fn of(folder: Option<&Path>, source: Source, pattern: Option<Regex>) -> Result<Self, JournalError> {
        let mut files = Files::new(folder);
        let handle = files.open(&source)?;
        Ok(Self { handle, pattern, source, files, unread: false, advanced: None })
    }

    /// Opens the files anew where others have come or gone before those that are open were read to their end: nothing
    /// more will be in these, and what was vacuumed was read.
    pub(super) fn renew(&mut self, place: &Place) -> Result<(), JournalError> {
        self.handle = self.files.open(&self.source)?;
        self.seek(place).map(drop)
    }

    /// An entry that is counted before all of its fields are linked is passed over by libsystemd until there is another
    /// one. Whoever seeks finds it.
    pub(super) fn settle(&mut self, place: &Place) -> Result<(), JournalError> {
        if self.advanced.is_some_and(|at| at.elapsed() > QUIET) {
            self.seek(place)?;
        }
        Ok(())
    }

    /// Goes to the next entry; false where there is none yet.
    pub(super) fn advance(&mut self) -> Result<bool, JournalError> {
        let more = std::mem::take(&mut self.unread) || self.handle.next().map_err(read)? > 0;
        if more {
            self.advanced = Some(Instant::now());
        }
        Ok(more)
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

    /// Goes on behind `place` where a follower's reading ended because a file was torn.
    pub(super) fn resume(&mut self, error: JournalError, torn: &mut u32, place: &Place) -> Result<(), JournalError> {
        self.mend(error, torn)?;
        self.untorn(|reader| reader.seek(place)).map(drop)
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

    pub(super) fn page(&mut self, query: &Query) -> Result<Page, JournalError> {
        self.untorn(|reader| match query.direction {
            Direction::Forward => reader.page_forward(query),
            Direction::Backward => reader.page_backward(query),
        })
    }

    fn page_forward(&mut self, query: &Query) -> Result<Page, JournalError> {
        let end = Instant::now() + PATIENCE;
        let mut joined = self.start(&Place::forward(query))?;
        let mut page = Page::default();
        let mut bytes = 0;
        // The entry that ended a line last: the next page finds the beginnings of those that end behind it.
        let mut ended = None;
        while self.advance()? {
            let piece = self.piece()?;
            if query.until.is_some_and(|until| piece.entry.time > until) {
                return Ok(page);
            }
            let cursor = piece.entry.cursor.clone();
            if let Some(entry) = joined.push(piece) {
                ended = Some(cursor.clone());
                if self.wanted(query, &entry) {
                    bytes += entry.weight();
                    page.entries.push(entry);
                }
            }
            if page.entries.len() >= query.lines || bytes >= PAGE || Instant::now() >= end {
                page.next = ended.or(Some(cursor));
                return Ok(page);
            }
        }
        Ok(page)
    }

    fn page_backward(&mut self, query: &Query) -> Result<Page, JournalError> {
        let Found { lines, more, last } = self.look_back(query, true, |entry| entry, Entry::weight)?;
        let next = match lines.first() {
            Some(oldest) if more => Some(oldest.cursor.clone()),
            _ => last,
        };
        Ok(Page { entries: lines, next })
    }

    /// Finds the newest lines, and keeps of each what `kept` gives; what they weigh together is bounded. `whole` lines
    /// have their text.
    fn look_back<T>(
        &mut self,
        query: &Query,
        whole: bool,
        kept: impl Fn(Entry) -> T,
        weight: impl Fn(&T) -> usize,
    ) -> Result<Found<T>, JournalError> {
        if query.lines == 0 {
            return Ok(Found { lines: Vec::new(), more: false, last: None });
        }
        let end = Instant::now() + PATIENCE;
        let mut joined = Backward::default();
        let mut found = BTreeMap::new();
        let mut bytes = 0;
        let (mut last, mut oldest) = (None, None);
        let (mut tired, mut cut) = (false, false);
        self.seek_backward(query)?;
        while self.handle.previous().map_err(read)? > 0 {
            let piece = if whole { self.piece()? } else { self.outline()? };
            if query.since.is_some_and(|since| piece.entry.time < since) {
                break;
            }
            oldest = Some(piece.entry.cursor.clone());
            if !piece.partial {
                last.clone_from(&oldest);
            }
            if let Some((place, entry)) = joined.push(piece)
                && self.wanted(query, &entry)
            {
                let line = kept(entry);
                bytes += weight(&line);
                found.insert(place, line);
            }
            cut = found.len() >= query.lines || bytes >= PAGE;
            tired = Instant::now() >= end;
            if cut || tired {
                break;
            }
        }
        if let Some(oldest) = oldest {
            // Of each output the newest piece first, as it goes on from there.
            for piece in self.begun(&Place::At(oldest))?.into_iter().rev() {
                let line = joined.push(piece).filter(|(_, entry)| self.wanted(query, entry));
                found.extend(line.map(|(place, entry)| (place, kept(entry))));
            }
        }
        let rest = joined.rest().filter(|(_, entry)| self.wanted(query, entry));
        found.extend(rest.map(|(place, entry)| (place, kept(entry))));
        let fit = full(&found, query.lines, &weight);
        let more = cut || found.len() > fit;
        let mut lines: Vec<T> = found.into_values().take(fit).collect();
        lines.reverse();
        Ok(Found { lines, more, last: last.filter(|_| tired) })
    }

    /// The same query, forward from the oldest of the newest lines that it wants. Nothing of them is kept meanwhile.
    pub(super) fn begin(&mut self, query: &Query) -> Result<Query, JournalError> {
        self.untorn(|reader| reader.begin_once(query.clone()))
    }

    fn begin_once(&mut self, query: Query) -> Result<Query, JournalError> {
        if let Some(cursor) = &query.cursor {
            self.seek(&Place::Behind(cursor.clone()))?;
        }
        if query.cursor.is_some() || query.direction == Direction::Forward {
            return Ok(Query { direction: Direction::Forward, ..query });
        }
        let query = Query { direction: Direction::Forward, ..query };
        let newest = self.newest()?;
        let oldest =
            self.look_back(&query, self.pattern.is_some(), |entry| entry.cursor, |_| 0)?.lines.into_iter().next();
        Ok(match (oldest, newest) {
            (Some(oldest), _) => Query { cursor: Some(oldest), including: true, ..query },
            (None, Some(newest)) => Query { cursor: Some(newest), ..query },
            // Seeking the tail of an empty result loses the first line to come; a moment that is past does not.
            (None, None) => Query { since: query.since.max(Some(now().saturating_sub(1_000_000))), ..query },
        })
    }

    /// The newest entry that no line is in the middle of.
    fn newest(&mut self) -> Result<Option<String>, JournalError> {
        let mut newest = None;
        self.handle.seek_tail().map_err(read)?;
        for _ in 0..PIECES {
            if self.handle.previous().map_err(read)? == 0 {
                break;
            }
            let piece = self.outline()?;
            newest = Some(piece.entry.cursor);
            if !piece.partial {
                break;
            }
        }
        Ok(newest)
    }

    /// Hands the lines to `sink`, those together that are there together, until it says no; where there are no more
    /// `listening` is asked. A deployment's last entry ends it.
    pub(super) fn follow(
        &mut self,
        query: &Query,
        mut sink: impl FnMut(Vec<Entry>) -> bool,
        listening: impl Fn() -> bool,
    ) -> Result<(), JournalError> {
        let mut place = Place::forward(query);
        if self.untorn(|reader| reader.is_behind_end(query, &place))? {
            return Ok(());
        }
        let mut joined = self.untorn(|reader| reader.start(&place))?;
        let mut torn = 0;
        loop {
            let others = self.files.changed();
            match self.read_on(query, &mut place, &mut joined, &mut sink) {
                Ok(true) => torn = 0,
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.resume(error, &mut torn, &place)?;
                    continue;
                }
            }
            if others {
                self.untorn(|reader| reader.renew(&place))?;
                continue;
            }
            if !listening() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
            self.untorn(|reader| reader.settle(&place))?;
        }
    }

    /// Hands on what there is behind `place`, and moves that along; false where nothing more is wanted.
    fn read_on(
        &mut self,
        query: &Query,
        place: &mut Place,
        joined: &mut Forward,
        sink: &mut impl FnMut(Vec<Entry>) -> bool,
    ) -> Result<bool, JournalError> {
        let mut batch = Batch::default();
        loop {
            let (piece, over) = match self.next_piece(query) {
                Ok(Some(found)) => found,
                end => {
                    // What was read is handed on, however reading ended.
                    let goes_on = batch.lines.is_empty() || sink(batch.take());
                    return end.map(|_| goes_on);
                }
            };
            *place = Place::Behind(piece.entry.cursor.clone());
            if let Some(entry) = joined.push(piece)
                && self.wanted(query, &entry)
                && batch.push(entry)
                && !sink(batch.take())
            {
                return Ok(false);
            }
            if over {
                sink(batch.take());
                return Ok(false);
            }
        }
    }

    /// The next piece, and whether it is the last that there will be.
    fn next_piece(&mut self, query: &Query) -> Result<Option<(Piece, bool)>, JournalError> {
        if !self.advance()? {
            return Ok(None);
        }
        let piece = self.piece()?;
        let over = self.is_end(query, &piece.entry)?;
        Ok(Some((piece, over)))
    }

    /// Whether the entry that it stands on is the last of the deployment that is asked for.
    fn is_end(&mut self, query: &Query, entry: &Entry) -> Result<bool, JournalError> {
        let is_agents = entry.identifier.as_deref() == Some(matches::AGENT) && is_since(query, entry);
        if !is_agents || !matches!(query.select, Select::Deployment(_)) {
            return Ok(false);
        }
        Ok(self.text(matches::STATE)?.is_some_and(|state| FINAL.contains(&state.as_str())))
    }

    /// Whether the last entry of the deployment that is asked for lies before `place`, where nothing more follows.
    fn is_behind_end(&mut self, query: &Query, place: &Place) -> Result<bool, JournalError> {
        let (Select::Deployment(id), Place::At(cursor) | Place::Behind(cursor)) = (&query.select, place) else {
            return Ok(false);
        };
        self.narrow(cursor, |handle| matches::end(handle, *id))?;
        let end = self.before(place)?;
        self.narrow(cursor, |handle| matches::lines(handle, &query.select))?;
        Ok(end.is_some_and(|piece| is_since(query, &piece.entry)))
    }

    /// Goes to where reading begins. Lines that have begun before that and end behind it will be whole.
    fn start(&mut self, place: &Place) -> Result<Forward, JournalError> {
        let mut joined = Forward::default();
        let own = self.seek(place)?;
        let place = match place {
            Place::Head => return Ok(joined),
            Place::At(_) | Place::Behind(_) if own => place.clone(),
            _ if self.advance()? => Place::At(self.handle.cursor().map_err(read)?),
            _ => place.clone(),
        };
        for piece in self.begun(&place)? {
            // What was too long for one line has been handed on up to here.
            joined.push(piece);
        }
        self.seek(&place)?;
        Ok(joined)
    }

    /// The pieces of the lines that have begun before an entry and end behind it, of each output the oldest first. The
    /// journal's index leads to them, however much lies between.
    fn begun(&mut self, place: &Place) -> Result<Vec<Piece>, JournalError> {
        let (Source::Lines(select), Place::At(cursor) | Place::Behind(cursor)) = (self.source.clone(), place) else {
            return Ok(Vec::new());
        };
        let mut outputs: Vec<Output> = Vec::new();
        self.narrow(cursor, |handle| matches::pieces(handle, &select))?;
        for _ in 0..PIECES {
            let Some(piece) = self.before(place)? else { break };
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
                && let Some(mut piece) = self.before(place)?
                && piece.partial
            {
                self.fill(&mut piece)?;
                line.push(piece);
            }
            all.extend(line.into_iter().rev());
        }
        self.narrow(cursor, |handle| matches::lines(handle, &select))?;
        Ok(all)
    }

    /// From here on only what `add` matches is read, from around a cursor.
    fn narrow(
        &mut self,
        cursor: &str,
        add: impl FnOnce(&mut Handle) -> std::io::Result<()>,
    ) -> Result<(), JournalError> {
        self.handle.match_flush().map_err(read)?;
        add(&mut self.handle).map_err(read)?;
        self.handle.seek_cursor(cursor).map_err(no_cursor)
    }

    /// The next entry back that lies before `place`.
    fn before(&mut self, place: &Place) -> Result<Option<Piece>, JournalError> {
        while self.handle.previous().map_err(read)? > 0 {
            let piece = self.outline()?;
            if !matches!(place, Place::At(cursor) if *cursor == piece.entry.cursor) {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// Goes to a place; whether it is an entry's that is there is returned.
    pub(super) fn seek(&mut self, place: &Place) -> Result<bool, JournalError> {
        self.unread = false;
        self.advanced = None;
        match place {
            Place::Head => self.handle.seek_head().map_err(read)?,
            Place::Since(since) => self.handle.seek_realtime_usec(*since).map_err(read)?,
            Place::At(cursor) | Place::Behind(cursor) => {
                self.handle.seek_cursor(cursor.as_str()).map_err(no_cursor)?;
                // The next entry is the cursor's own, or the first behind it where that is gone.
                if self.handle.next().map_err(read)? > 0 {
                    let own = self.handle.test_cursor(cursor.as_str()).map_err(no_cursor)?;
                    self.unread = !own || matches!(place, Place::At(_));
                    return Ok(own);
                }
            }
        }
        Ok(false)
    }

    fn seek_backward(&mut self, query: &Query) -> Result<(), JournalError> {
        match (&query.cursor, query.until) {
            (Some(cursor), _) => {
                self.handle.seek_cursor(cursor.as_str()).map_err(no_cursor)?;
                // Stand on the cursor's own entry, so that the next one back is the first of the page.
                self.handle.next().map_err(read)?;
                Ok(())
            }
            (None, Some(until)) => self.handle.seek_realtime_usec(until.saturating_add(1)).map_err(read),
            (None, None) => self.handle.seek_tail().map_err(read),
        }
    }

    fn wanted(&self, query: &Query, entry: &Entry) -> bool {
        is_since(query, entry)
            && query.until.is_none_or(|until| entry.time <= until)
            && query.priority.is_none_or(|most| entry.priority <= most)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&entry.message))
    }

    fn field(&mut self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        match self.handle.get_data(name) {
            Ok(field) => Ok(field.and_then(|field| field.value().map(<[u8]>::to_vec))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(read(error)),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, JournalError> {
        Ok(self.field(name)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whose line it is, and whether more of that follows; its text is left in the journal.
    fn outline(&mut self) -> Result<Piece, JournalError> {
        let priority = self.text("PRIORITY")?.and_then(|text| text.parse().ok()).unwrap_or(6);
        let container = self.text("CONTAINER_ID_FULL")?;
        let marked = container.is_some() && self.text("CONTAINER_PARTIAL_MESSAGE")?.is_some();
        let partial = marked && goes_on(self.field("MESSAGE")?.unwrap_or_default().len());
        let entry = Entry {
            cursor: self.handle.cursor().map_err(read)?,
            time: self.handle.timestamp_usec().map_err(read)?,
            priority,
            unit: None,
            identifier: None,
            pid: None,
            message: Vec::new(),
        };
        Ok(Piece { entry, container, partial })
    }

    fn piece(&mut self) -> Result<Piece, JournalError> {
        let mut piece = self.outline()?;
        self.fill(&mut piece)?;
        Ok(piece)
    }

    fn fill(&mut self, piece: &mut Piece) -> Result<(), JournalError> {
        let entry = &mut piece.entry;
        entry.message = self.field("MESSAGE")?.unwrap_or_default();
        // conmon writes the line's end too.
        if piece.container.is_some() && entry.message.last() == Some(&b'\n') {
            entry.message.pop();
        }
        entry.identifier = self.text("SYSLOG_IDENTIFIER")?;
        entry.unit = self.text("_SYSTEMD_USER_UNIT")?;
        if entry.unit.is_none() {
            // journald came too late to see the process.
            let container = self.text("CONTAINER_NAME")?;
            entry.unit = unit(container.as_deref(), entry.identifier.as_deref());
        }
        entry.pid = self.text("_PID")?.and_then(|text| text.parse().ok());
        Ok(())
    }
}

/// Why a cursor leads nowhere: it is none, where it wasn't the file that was torn.
fn no_cursor(error: systemd::Error) -> JournalError {
    match read(error) {
        torn if torn.is_torn() => torn,
        _ => JournalError::Cursor,
    }
}

impl Place {
    fn forward(query: &Query) -> Self {
        match (&query.cursor, query.since) {
            (Some(cursor), _) if query.including => Self::At(cursor.clone()),
            (Some(cursor), _) => Self::Behind(cursor.clone()),
            (None, Some(since)) => Self::Since(since),
            (None, None) => Self::Head,
        }
    }
}

/// The unit of a release's container, or of a build.
fn unit(container: Option<&str>, identifier: Option<&str>) -> Option<String> {
    match container {
        Some(name) => ReleaseName::of_container(name).map(|release| release.unit()),
        None => identifier.filter(|name| name.starts_with("build-")).map(|name| format!("{name}.service")),
    }
}

fn is_since(query: &Query, entry: &Entry) -> bool {
    query.since.is_none_or(|since| entry.time >= since)
}

/// Microseconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
}

/// How many of the lines that were found, the newest first, make a page.
fn full<T>(found: &BTreeMap<usize, T>, most: usize, weight: impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0;
    let fits = found.values().take(most).take_while(|line| {
        let fits = bytes < PAGE;
        bytes += weight(line);
        fits
    });
    fits.count()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Error;

    use nix::libc::{EBADMSG, EIO};

    use super::*;
    use crate::names::{DeploymentId, ReleaseNumber};

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

    #[test]
    fn a_lines_unit_is_known_by_what_the_line_itself_says() {
        let release = ReleaseName::new(&"my-blog".parse().unwrap(), ReleaseNumber(7));
        assert_eq!(unit(Some(&release.container()), Some("my-blog")), Some(release.unit()));
        let build = format!("build-{}", DeploymentId(12));
        assert_eq!(unit(None, Some(&build)).as_deref(), Some("build-12.service"));
        assert_eq!(unit(None, Some("podkeeper")), None);
        assert_eq!(unit(None, None), None);
    }
}
