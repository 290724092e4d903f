//! A reader of the journal on libsystemd; it belongs to one thread.
//!
//! libsystemd learns of new files through inotify, of which a user has few, and journald posts its changes late. So a
//! follower looks by itself: for entries in the mapped files, and whether the journal's folders have changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use regex::bytes::{Regex, RegexBuilder};
use systemd::journal::{Journal as Handle, OpenDirectoryOptions, OpenOptions};

use super::join::{Backward, Beginnings, Forward, Piece};
use super::{Direction, Entry, HealthSaid, JournalError, Page, Query, Select};

/// How long a page may search. A pattern that is never found must not read the whole journal in one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far back health checks are heard, in microseconds, and how long until it is looked for new ones.
const HEALTH_SPAN: u64 = 3_600_000_000;
const HEALTH_LOOK: Duration = Duration::from_secs(1);
/// How many bytes make a page full, however few its lines are.
const PAGE: usize = 8 * 1024 * 1024;
/// How much further back a full page looks for the beginnings of its lines, where the pieces of several interleave.
const BEYOND: usize = 1000;
/// How long a follower waits before it looks again; a look costs microseconds.
const LOOK: Duration = Duration::from_millis(30);
/// How much text goes on together.
const BATCH: usize = 32 * 1024;
/// How far back the beginnings of lines are looked for whose ends come behind a cursor.
const BEGINNINGS: usize = 256;
/// A folder that changed so lately may change again without its time telling: that moves in ticks.
const TICK: Duration = Duration::from_millis(30);
/// How often the files are opened anew where they change meanwhile.
const TRIES: usize = 20;
/// How long it must be quiet until a follower seeks its place anew.
const QUIET: Duration = Duration::from_secs(1);

/// What is read.
enum Source {
    Lines(Select),
    Health,
}

pub(super) struct Reader {
    handle: Handle,
    pattern: Option<Regex>,
    source: Source,
    files: Files,
    /// It stands on an entry that was not read yet.
    unread: bool,
    /// When it read an entry, where it has not sought its place since.
    advanced: Option<Instant>,
}

/// Where reading goes on.
enum Place {
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

/// The journal's files, and what their folders looked like when they were opened.
struct Files {
    folder: Option<PathBuf>,
    /// Each folder, and when it changed last.
    stamp: Vec<(PathBuf, Option<SystemTime>)>,
}

impl Files {
    fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_owned), stamp: Vec::new() }
    }

    /// Remembers how the folders are.
    fn look(&mut self) {
        let roots = match &self.folder {
            Some(folder) => vec![folder.clone()],
            None => vec!["/var/log/journal".into(), "/run/log/journal".into()],
        };
        // Before what is in them, so that what comes meanwhile is a change.
        let roots: Vec<_> = roots.into_iter().map(stamped).collect();
        let within = |root: &PathBuf| std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let below = roots.iter().flat_map(|(root, _)| within(root)).filter(|path| path.is_dir()).map(stamped);
        self.stamp = below.chain(roots.iter().cloned()).collect();
    }

    /// Whether files have come or gone since.
    fn changed(&self) -> bool {
        self.stamp.iter().any(|(path, at)| changed(path) != *at)
    }

    /// How long until a change will be told by a folder's time.
    fn settling(&self) -> Duration {
        let now = SystemTime::now();
        // A time to come is one that tells.
        let age = |at: &SystemTime| now.duration_since(*at).unwrap_or(TICK);
        let youngest = self.stamp.iter().filter_map(|(_, at)| at.as_ref().map(age)).min();
        TICK.saturating_sub(youngest.unwrap_or(TICK))
    }

    /// Opens all files that are there. One that is renamed while they are listed may be missed, so none may have come or
    /// gone meanwhile.
    fn open(&mut self, source: &Source) -> Result<Handle, JournalError> {
        for _ in 0..TRIES {
            self.look();
            std::thread::sleep(self.settling());
            let handle = self.open_once(source)?;
            if !self.changed() {
                return Ok(handle);
            }
        }
        Err(read(std::io::Error::other("the journal's files change all the time")))
    }

    fn open_once(&self, source: &Source) -> Result<Handle, JournalError> {
        let mut handle = match &self.folder {
            Some(folder) => OpenDirectoryOptions::default().open_directory(folder.to_string_lossy().into_owned()),
            None => OpenOptions::default().system(true).current_user(true).local_only(true).open(),
        }
        .map_err(read)?;
        // Whole fields, however long.
        handle.set_data_threshold(0).map_err(read)?;
        match source {
            Source::Lines(select) => add_matches(&mut handle, select),
            Source::Health => add_health(&mut handle),
        }
        .map_err(read)?;
        Ok(handle)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn stamped(path: PathBuf) -> (PathBuf, Option<SystemTime>) {
    let at = changed(&path);
    (path, at)
}

fn read(error: impl Into<std::io::Error>) -> JournalError {
    JournalError::Read(error.into())
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

    /// Hands each finding to `sink` until it says no.
    pub(super) fn follow_health(
        &mut self,
        mut sink: impl FnMut(HealthSaid) -> bool,
        listening: impl Fn() -> bool,
    ) -> Result<(), JournalError> {
        let mut place = Place::Since(now().saturating_sub(HEALTH_SPAN));
        self.seek(&place)?;
        while listening() {
            let others = self.files.changed();
            while self.advance()? {
                place = Place::Behind(self.handle.cursor().map_err(read)?);
                let healthy = match self.text("PODMAN_HEALTH_STATUS")?.as_deref() {
                    Some("healthy") => true,
                    Some("unhealthy") => false,
                    _ => continue,
                };
                let Some(container) = self.text("PODMAN_NAME")? else { continue };
                if !sink(HealthSaid { container, healthy }) {
                    return Ok(());
                }
            }
            self.wait(others, &place, HEALTH_LOOK)?;
        }
        Ok(())
    }

    /// Waits before the next look behind `place`. With `others` there are other files instead: they had come before
    /// those that are open were read to their end, so nothing more will be in these, and what was vacuumed was read.
    fn wait(&mut self, others: bool, place: &Place, time: Duration) -> Result<(), JournalError> {
        if others {
            self.handle = self.files.open(&self.source)?;
            return self.seek(place).map(drop);
        }
        std::thread::sleep(time);
        if self.advanced.is_some_and(|at| at.elapsed() > QUIET) {
            // An entry that is counted before all of its fields are linked is passed over by libsystemd until there is
            // another one. Whoever seeks finds it.
            self.seek(place)?;
        }
        Ok(())
    }

    /// Goes to the next entry; false where there is none yet.
    fn advance(&mut self) -> Result<bool, JournalError> {
        let more = std::mem::take(&mut self.unread) || self.handle.next().map_err(read)? > 0;
        if more {
            self.advanced = Some(Instant::now());
        }
        Ok(more)
    }

    pub(super) fn page(&mut self, query: &Query) -> Result<Page, JournalError> {
        match query.direction {
            Direction::Forward => self.page_forward(query),
            Direction::Backward => self.page_backward(query),
        }
    }

    fn page_forward(&mut self, query: &Query) -> Result<Page, JournalError> {
        let end = Instant::now() + PATIENCE;
        let mut joined = self.start(&Place::forward(query))?;
        let mut page = Page::default();
        let mut bytes = 0;
        // Where no line was half read: how many lines the page had by then.
        let mut whole = None;
        while self.advance()? {
            let piece = self.piece()?;
            if query.until.is_some_and(|until| piece.entry.time > until) {
                return Ok(page);
            }
            let cursor = piece.entry.cursor.clone();
            if let Some(entry) = joined.push(piece)
                && self.wanted(query, &entry)
            {
                bytes += entry.message.len();
                page.entries.push(entry);
            }
            let full = page.entries.len() >= query.lines || bytes >= PAGE || Instant::now() >= end;
            if !full && joined.is_empty() {
                whole = Some((page.entries.len(), cursor));
            } else if full {
                // The next page would begin in the middle of a line.
                let (lines, next) =
                    whole.filter(|(lines, _)| !joined.is_empty() && *lines > 0).unwrap_or((page.entries.len(), cursor));
                page.entries.truncate(lines);
                page.next = Some(next);
                return Ok(page);
            }
        }
        Ok(page)
    }

    fn page_backward(&mut self, query: &Query) -> Result<Page, JournalError> {
        let Found { lines, more, last } = self.look_back(query, true, |entry| entry, |entry| entry.message.len())?;
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
        let (mut bytes, mut beyond) = (0, 0);
        let mut last = None;
        let (mut tired, mut cut) = (false, false);
        self.seek_backward(query)?;
        while self.handle.previous().map_err(read)? > 0 {
            let piece = if whole { self.piece()? } else { self.outline()? };
            if query.since.is_some_and(|since| piece.entry.time < since) {
                break;
            }
            if !piece.partial {
                last = Some(piece.entry.cursor.clone());
            }
            if let Some((place, entry)) = joined.push(piece)
                && self.wanted(query, &entry)
            {
                let line = kept(entry);
                bytes += weight(&line);
                found.insert(place, line);
            }
            if found.len() >= query.lines || bytes >= PAGE {
                beyond += 1;
                let oldest = found.keys().nth(full(&found, query.lines, &weight) - 1).copied();
                cut = beyond > BEYOND || !oldest.is_some_and(|place| joined.lacks(place));
            }
            tired = Instant::now() >= end;
            if cut || tired {
                break;
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
    pub(super) fn begin(&mut self, query: Query) -> Result<Query, JournalError> {
        if let Some(cursor) = &query.cursor {
            self.seek(&Place::Behind(cursor.clone()))?;
        }
        if query.cursor.is_some() || query.direction == Direction::Forward {
            return Ok(Query { direction: Direction::Forward, ..query });
        }
        let query = Query { direction: Direction::Forward, ..query };
        self.handle.seek_tail().map_err(read)?;
        let newest =
            (self.handle.previous().map_err(read)? > 0).then(|| self.handle.cursor()).transpose().map_err(read)?;
        let oldest =
            self.look_back(&query, self.pattern.is_some(), |entry| entry.cursor, |_| 0)?.lines.into_iter().next();
        Ok(match (oldest, newest) {
            (Some(oldest), _) => Query { cursor: Some(oldest), including: true, ..query },
            (None, Some(newest)) => Query { cursor: Some(newest), ..query },
            // Seeking the tail of an empty result loses the first line to come; a moment that is past does not.
            (None, None) => Query { since: query.since.max(Some(now().saturating_sub(1_000_000))), ..query },
        })
    }

    /// Hands the lines to `sink`, those together that are there together, until it says no; while there are none
    /// `listening` is asked.
    pub(super) fn follow(
        &mut self,
        query: &Query,
        mut sink: impl FnMut(Vec<Entry>) -> bool,
        listening: impl Fn() -> bool,
    ) -> Result<(), JournalError> {
        let mut batch = Batch::default();
        let mut place = Place::forward(query);
        let mut joined = self.start(&place)?;
        loop {
            let others = self.files.changed();
            while self.advance()? {
                let piece = self.piece()?;
                place = Place::Behind(piece.entry.cursor.clone());
                if let Some(entry) = joined.push(piece)
                    && self.wanted(query, &entry)
                    && batch.push(entry)
                    && !sink(batch.take())
                {
                    return Ok(());
                }
            }
            if !batch.lines.is_empty() && !sink(batch.take()) {
                return Ok(());
            }
            if !listening() {
                return Ok(());
            }
            self.wait(others, &place, LOOK)?;
        }
    }

    /// Goes to where reading begins, and finds the beginnings of lines that end behind it.
    fn start(&mut self, place: &Place) -> Result<Forward, JournalError> {
        let mut beginnings = Beginnings::default();
        if self.seek(place)? {
            let mut more = !self.unread || self.handle.previous().map_err(read)? > 0;
            while more {
                let mut piece = self.outline()?;
                if piece.partial {
                    self.fill(&mut piece)?;
                }
                let seen = beginnings.push(piece);
                more = seen < BEGINNINGS && self.handle.previous().map_err(read)? > 0;
            }
            self.seek(place)?;
        }
        Ok(beginnings.go_on())
    }

    /// Goes to a place; whether it is an entry's that is there is returned.
    fn seek(&mut self, place: &Place) -> Result<bool, JournalError> {
        self.unread = false;
        self.advanced = None;
        match place {
            Place::Head => self.handle.seek_head().map_err(read)?,
            Place::Since(since) => self.handle.seek_realtime_usec(*since).map_err(read)?,
            Place::At(cursor) | Place::Behind(cursor) => {
                self.handle.seek_cursor(cursor.as_str()).map_err(|_| JournalError::Cursor)?;
                // The next entry is the cursor's own, or the first behind it where that is gone.
                if self.handle.next().map_err(read)? > 0 {
                    let own = self.handle.test_cursor(cursor.as_str()).map_err(|_| JournalError::Cursor)?;
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
                self.handle.seek_cursor(cursor.as_str()).map_err(|_| JournalError::Cursor)?;
                // Stand on the cursor's own entry, so that the next one back is the first of the page.
                self.handle.next().map_err(read)?;
                Ok(())
            }
            (None, Some(until)) => self.handle.seek_realtime_usec(until.saturating_add(1)).map_err(read),
            (None, None) => self.handle.seek_tail().map_err(read),
        }
    }

    fn wanted(&self, query: &Query, entry: &Entry) -> bool {
        query.since.is_none_or(|since| entry.time >= since)
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

    fn text(&mut self, name: &str) -> Result<Option<String>, JournalError> {
        Ok(self.field(name)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whose line it is, and whether more of that follows; its text is left in the journal.
    fn outline(&mut self) -> Result<Piece, JournalError> {
        let priority = self.text("PRIORITY")?.and_then(|text| text.parse().ok()).unwrap_or(6);
        let container = self.text("CONTAINER_ID_FULL")?;
        let partial = container.is_some() && self.text("CONTAINER_PARTIAL_MESSAGE")?.is_some();
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
        entry.unit = self.text("_SYSTEMD_USER_UNIT")?;
        entry.identifier = self.text("SYSLOG_IDENTIFIER")?;
        entry.pid = self.text("_PID")?.and_then(|text| text.parse().ok());
        Ok(())
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

/// Microseconds since 1970.
fn now() -> u64 {
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

fn add_health(handle: &mut Handle) -> std::io::Result<()> {
    handle.match_add("_UID", nix::unistd::getuid().to_string())?;
    handle.match_add("PODMAN_EVENT", "health_status")?;
    Ok(())
}

/// Only what the trusted fields say is believed: any local program may claim a tag, but not our user id.
fn add_matches(handle: &mut Handle, select: &Select) -> std::io::Result<()> {
    let uid = nix::unistd::getuid().to_string();
    let build = |handle: &mut Handle, id: &crate::names::DeploymentId| -> std::io::Result<()> {
        handle.match_add("_UID", uid.as_str())?;
        handle.match_add("_SYSTEMD_USER_UNIT", format!("build-{id}.service"))?;
        // Not Podman's events, which come from the same unit.
        handle.match_add("SYSLOG_IDENTIFIER", format!("build-{id}"))?;
        Ok(())
    };
    let release_lines = |handle: &mut Handle, release: &crate::names::ReleaseName| -> std::io::Result<()> {
        handle.match_add("_UID", uid.as_str())?;
        handle.match_add("_COMM", "conmon")?;
        handle.match_add("SYSLOG_IDENTIFIER", release.service.as_str())?;
        handle.match_add("_SYSTEMD_USER_UNIT", release.unit())?;
        Ok(())
    };
    match select {
        Select::Service(service, builds) => {
            handle.match_add("_UID", uid.as_str())?;
            handle.match_add("_COMM", "conmon")?;
            handle.match_add("SYSLOG_IDENTIFIER", service.as_str())?;
            for id in builds {
                handle.match_or()?;
                build(handle, id)?;
            }
        }
        Select::Release(release) => release_lines(handle, release)?,
        Select::Unit(release) => {
            release_lines(handle, release)?;
            handle.match_or()?;
            handle.match_add("_UID", uid.as_str())?;
            handle.match_add("_SYSTEMD_USER_UNIT", release.unit())?;
            handle.match_add("SYSLOG_IDENTIFIER", format!("{}@{}", release.service, release.number))?;
        }
        Select::Deployment(id) => {
            handle.match_add("_UID", uid.as_str())?;
            handle.match_add("SYSLOG_IDENTIFIER", "podkeeper")?;
            handle.match_add("PODKEEPER_DEPLOYMENT", id.to_string())?;
            handle.match_or()?;
            build(handle, id)?;
        }
        Select::Build(id) => build(handle, id)?,
    }
    Ok(())
}
