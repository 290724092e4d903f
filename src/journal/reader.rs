//! A reader of the journal on libsystemd; it belongs to one thread.

use std::path::Path;
use std::time::{Duration, Instant};

use regex::bytes::{Regex, RegexBuilder};
use systemd::journal::{Journal as Handle, OpenDirectoryOptions, OpenOptions};

use super::join::{Backward, Forward, Piece};
use super::{Direction, Entry, JournalError, Page, Query, Select};

/// How long a page may search. A pattern that is never found must not read the whole journal in one request.
const PATIENCE: Duration = Duration::from_secs(5);
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

impl Reader {
    pub(super) fn open(folder: Option<&Path>, query: &Query) -> Result<Self, JournalError> {
        let pattern = query.grep.as_deref().map(compile).transpose()?;
        let mut handle = match folder {
            Some(folder) => OpenDirectoryOptions::default().open_directory(folder.to_string_lossy().into_owned()),
            None => OpenOptions::default().system(true).current_user(true).local_only(true).open(),
        }
        .map_err(read)?;
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
                page.entries.push(entry);
            }
            if page.entries.len() >= query.lines || Instant::now() >= end {
                page.next = Some(cursor);
                return Ok(page);
            }
        }
        Ok(page)
    }

    fn page_backward(&mut self, query: &Query) -> Result<Page, JournalError> {
        let end = Instant::now() + PATIENCE;
        let mut joined = Backward::default();
        self.seek_backward(query)?;
        let mut found = 0;
        let mut last = None;
        let mut more = false;
        while self.handle.previous().map_err(read)? > 0 {
            let piece = self.piece()?;
            if query.since.is_some_and(|since| piece.entry.time < since) {
                break;
            }
            // A whole line costs one push; only a page with a pattern must look at each line while it goes.
            let ends = !piece.partial;
            if ends && (found >= query.lines || Instant::now() >= end) {
                more = true;
                break;
            }
            last = ends.then(|| piece.entry.cursor.clone()).or(last);
            let fits = self.pattern.is_none() || piece.container.is_some() || self.wanted(query, &piece.entry);
            if ends && fits && self.likely(query, &piece.entry) {
                found += 1;
            }
            joined.push(piece);
        }
        let mut entries = joined.lines();
        entries.retain(|entry| self.wanted(query, entry));
        entries.reverse();
        Ok(Page { entries, next: last.filter(|_| more) })
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
            None => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                let before = u64::try_from(now.as_micros()).unwrap_or_default().saturating_sub(1_000_000);
                self.handle.seek_realtime_usec(before).map_err(read)
            }
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

    fn likely(&self, query: &Query, entry: &Entry) -> bool {
        query.priority.is_none_or(|most| entry.priority <= most)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&entry.message))
    }

    fn wanted(&self, query: &Query, entry: &Entry) -> bool {
        query.since.is_none_or(|since| entry.time >= since)
            && query.until.is_none_or(|until| entry.time <= until)
            && self.likely(query, entry)
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
        let entry = Entry {
            cursor: self.handle.cursor().map_err(read)?,
            time: self.handle.timestamp_usec().map_err(read)?,
            priority,
            unit: self.text("_SYSTEMD_USER_UNIT")?,
            identifier: self.text("SYSLOG_IDENTIFIER")?,
            message: self.field("MESSAGE")?.unwrap_or_default(),
        };
        Ok(Piece { entry, container, partial })
    }
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
