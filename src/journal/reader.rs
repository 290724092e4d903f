//! A reader of the journal on libsystemd; it belongs to one thread.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use regex::bytes::{Regex, RegexBuilder};
use systemd::journal::{Journal as Handle, OpenDirectoryOptions, OpenOptions};

use super::join::{Backward, Forward, Piece};
use super::{Direction, Entry, HealthSaid, JournalError, Page, Query, Select};

/// How long a page may search. A pattern that is never found must not read the whole journal in one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far back health checks are heard, in microseconds, and how long nothing may come before somebody is looked for
/// who listens.
const HEALTH_SPAN: u64 = 3_600_000_000;
const HEALTH_LOOK: Duration = Duration::from_secs(2);
/// How many bytes make a page full, however few its lines are.
const PAGE: usize = 8 * 1024 * 1024;
/// How much further back a full page looks for the beginnings of its lines, where the pieces of several interleave.
const BEYOND: usize = 1000;
/// How long a follower waits before it looks again: journald posts its changes late, and a look costs microseconds.
const LOOK: Duration = Duration::from_millis(30);

pub(super) struct Reader {
    handle: Handle,
    pattern: Option<Regex>,
}

fn read(error: impl Into<std::io::Error>) -> JournalError {
    JournalError::Read(error.into())
}

pub(super) fn compile(pattern: &str) -> Result<Regex, JournalError> {
    RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| JournalError::Pattern(Box::new(error)))
}

fn handle(folder: Option<&Path>) -> Result<Handle, JournalError> {
    match folder {
        Some(folder) => OpenDirectoryOptions::default().open_directory(folder.to_string_lossy().into_owned()),
        None => OpenOptions::default().system(true).current_user(true).local_only(true).open(),
    }
    .map_err(read)
}

impl Reader {
    /// What Podman tells of health checks.
    pub(super) fn open_health(folder: Option<&Path>) -> Result<Self, JournalError> {
        let mut handle = handle(folder)?;
        handle.match_add("_UID", nix::unistd::getuid().to_string()).map_err(read)?;
        handle.match_add("PODMAN_EVENT", "health_status").map_err(read)?;
        handle.seek_realtime_usec(now().saturating_sub(HEALTH_SPAN)).map_err(read)?;
        Ok(Self { handle, pattern: None })
    }

    /// Hands each finding to `sink` until it says no.
    pub(super) fn follow_health(
        &mut self,
        mut sink: impl FnMut(HealthSaid) -> bool,
        listening: impl Fn() -> bool,
    ) -> Result<(), JournalError> {
        while listening() {
            while self.handle.next().map_err(read)? > 0 {
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
            self.handle.wait(Some(HEALTH_LOOK)).map_err(read)?;
        }
        Ok(())
    }

    pub(super) fn open(folder: Option<&Path>, query: &Query) -> Result<Self, JournalError> {
        let pattern = query.grep.as_deref().map(compile).transpose()?;
        let mut handle = handle(folder)?;
        // Whole fields, however long.
        handle.set_data_threshold(0).map_err(read)?;
        add_matches(&mut handle, &query.select).map_err(read)?;
        Ok(Self { handle, pattern })
    }

    pub(super) fn page(&mut self, query: &Query) -> Result<Page, JournalError> {
        match query.direction {
            Direction::Forward => self.page_forward(query),
            Direction::Backward => self.page_backward(query),
        }
    }

    fn page_forward(&mut self, query: &Query) -> Result<Page, JournalError> {
        let end = Instant::now() + PATIENCE;
        let mut joined = Forward::default();
        let mut page = Page::default();
        let mut bytes = 0;
        // Where no line was half read: how many lines the page had by then.
        let mut whole = None;
        self.seek_forward(query)?;
        while self.handle.next().map_err(read)? > 0 {
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
        let end = Instant::now() + PATIENCE;
        let mut joined = Backward::default();
        let mut found = BTreeMap::new();
        let (mut bytes, mut beyond) = (0, 0);
        let mut last = None;
        let (mut tired, mut cut) = (false, false);
        self.seek_backward(query)?;
        while self.handle.previous().map_err(read)? > 0 {
            let piece = self.piece()?;
            if query.since.is_some_and(|since| piece.entry.time < since) {
                break;
            }
            if !piece.partial {
                last = Some(piece.entry.cursor.clone());
            }
            if let Some((place, entry)) = joined.push(piece)
                && self.wanted(query, &entry)
            {
                bytes += entry.message.len();
                found.insert(place, entry);
            }
            if found.len() >= query.lines || bytes >= PAGE {
                beyond += 1;
                let oldest = found.keys().nth(full(&found, query.lines) - 1).copied();
                cut = beyond > BEYOND || !oldest.is_some_and(|place| joined.lacks(place));
            }
            tired = Instant::now() >= end;
            if cut || tired {
                break;
            }
        }
        found.extend(joined.rest().filter(|(_, entry)| self.wanted(query, entry)));
        let lines = full(&found, query.lines);
        let more = cut || found.len() > lines;
        let mut entries: Vec<Entry> = found.into_values().take(lines).collect();
        entries.reverse();
        let next = match entries.first() {
            Some(oldest) if more => Some(oldest.cursor.clone()),
            _ => last.filter(|_| tired),
        };
        Ok(Page { entries, next })
    }

    /// Hands each line to `sink` until it says no; between lines `listening` is asked.
    pub(super) fn follow(
        &mut self,
        query: &Query,
        mut sink: impl FnMut(Entry) -> bool,
        listening: impl Fn() -> bool,
    ) -> Result<(), JournalError> {
        let mut joined = Forward::default();
        if query.cursor.is_none() && query.direction == Direction::Backward {
            let page = self.page_backward(query)?;
            let behind = page.entries.last().map(|entry| entry.cursor.clone());
            for entry in page.entries {
                if !sink(entry) {
                    return Ok(());
                }
            }
            self.start_behind(behind)?;
        } else {
            self.seek_forward(query)?;
        }
        loop {
            while self.handle.next().map_err(read)? > 0 {
                let piece = self.piece()?;
                if let Some(entry) = joined.push(piece)
                    && self.wanted(query, &entry)
                    && !sink(entry)
                {
                    return Ok(());
                }
            }
            if !listening() {
                return Ok(());
            }
            self.handle.wait(Some(LOOK)).map_err(read)?;
        }
    }

    /// Goes on behind a page that was read, or from now on where it was empty.
    fn start_behind(&mut self, cursor: Option<String>) -> Result<(), JournalError> {
        match cursor {
            Some(cursor) => self.seek_behind(&cursor),
            // Seeking the tail of an empty result loses the first line to come; a moment that is past does not.
            None => self.handle.seek_realtime_usec(now().saturating_sub(1_000_000)).map_err(read),
        }
    }

    fn seek_behind(&mut self, cursor: &str) -> Result<(), JournalError> {
        self.handle.seek_cursor(cursor).map_err(|_| JournalError::Cursor)?;
        // The next entry is the cursor's own, or the first behind it where that is gone.
        if self.handle.next().map_err(read)? > 0
            && !self.handle.test_cursor(cursor).map_err(|_| JournalError::Cursor)?
        {
            self.handle.previous().map_err(read)?;
        }
        Ok(())
    }

    fn seek_forward(&mut self, query: &Query) -> Result<(), JournalError> {
        match (&query.cursor, query.since) {
            (Some(cursor), _) => self.seek_behind(cursor),
            (None, Some(since)) => self.handle.seek_realtime_usec(since).map_err(read),
            (None, None) => self.handle.seek_head().map_err(read),
        }
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

    fn piece(&mut self) -> Result<Piece, JournalError> {
        let priority = self.text("PRIORITY")?.and_then(|text| text.parse().ok()).unwrap_or(6);
        let container = self.text("CONTAINER_ID_FULL")?;
        let partial = container.is_some() && self.text("CONTAINER_PARTIAL_MESSAGE")?.is_some();
        let mut message = self.field("MESSAGE")?.unwrap_or_default();
        // conmon writes the line's end too.
        if container.is_some() && message.last() == Some(&b'\n') {
            message.pop();
        }
        let entry = Entry {
            cursor: self.handle.cursor().map_err(read)?,
            time: self.handle.timestamp_usec().map_err(read)?,
            priority,
            unit: self.text("_SYSTEMD_USER_UNIT")?,
            identifier: self.text("SYSLOG_IDENTIFIER")?,
            pid: self.text("_PID")?.and_then(|text| text.parse().ok()),
            message,
        };
        Ok(Piece { entry, container, partial })
    }
}

/// Microseconds since 1970.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or_default()
}

/// How many of the lines that were found, the newest first, make a page.
fn full(found: &BTreeMap<usize, Entry>, most: usize) -> usize {
    let mut bytes = 0;
    let fits = found.values().take(most).take_while(|entry| {
        let fits = bytes < PAGE;
        bytes += entry.message.len();
        fits
    });
    fits.count()
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
