//! One page of lines, and the newest ones from which a follower begins. Both look back from a place.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ends::Ends;
use super::files::read;
use super::join::Backward;
use super::order::order;
use super::reader::{PIECES, Position, Reader, no_cursor, now};
use super::{Begun, Direction, Entry, JournalError, Page, Query, Start};

/// How long a page may search. A pattern that is never found must not read the whole journal in one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// What makes a page full, however few its lines are: so many bytes of what they are told with.
const PAGE: usize = 8 * 1024 * 1024;
/// Of so many bytes are the lines at most that are kept where they were found. Others are read again when somebody has
/// room for them.
const KEPT: usize = 128 * 1024;

/// What a look back has found, oldest first.
struct Found<T> {
    lines: Vec<T>,
    /// There are more.
    more: bool,
    /// How far it came until it was tired.
    last: Option<String>,
}

/// Where a line lies, and the line where it was kept.
struct Line {
    cursor: String,
    entry: Option<Entry>,
}

impl Reader {
    pub(super) fn page(&mut self, query: &Query) -> Result<Page, JournalError> {
        self.untorn(|reader| match query.direction {
            Direction::Forward => reader.page_forward(query),
            Direction::Backward => reader.page_backward(query),
        })
    }

    fn page_forward(&mut self, query: &Query) -> Result<Page, JournalError> {
        let end = Instant::now() + PATIENCE;
        let mut joined = self.start(&Position::forward(query))?;
        let mut page = Page::default();
        let mut bytes = 0;
        // The entry that ended a line last: the next page finds the beginnings of those that end behind it.
        let mut ended = None;
        while self.advance()? {
            let passes = self.passes_behind(&joined)?;
            if query.until.is_some() && query.until < Some(self.time()?) {
                return Ok(page);
            }
            let tired = self.is_beat() && Instant::now() >= end;
            if passes && !tired {
                continue;
            }
            let cursor = self.cursor()?;
            if passes {
                ended = Some(cursor.clone());
            } else if let Some(entry) = joined.push(self.piece()?) {
                ended = Some(cursor.clone());
                if self.wanted(query, &entry) {
                    bytes += entry.weight();
                    page.entries.push(entry);
                }
            }
            if tired || page.entries.len() >= query.lines || bytes >= PAGE {
                page.next = ended.or(Some(cursor));
                return Ok(page);
            }
        }
        Ok(page)
    }

    fn page_backward(&mut self, query: &Query) -> Result<Page, JournalError> {
        let seek = |reader: &mut Self| reader.seek_backward(query);
        let Found { lines, more, last } = self.look_back(query, seek, || true, |entry| entry, Entry::weight)?;
        let next = match lines.first() {
            Some(oldest) if more => Some(oldest.cursor.clone()),
            _ => last,
        };
        Ok(Page { entries: lines, next })
    }

    /// Finds the newest lines before where `seek` goes, and keeps of each what `kept` gives; what they weigh together is
    /// bounded. They have their text where something is looked for in it, and while `whole` says so.
    fn look_back<T>(
        &mut self,
        query: &Query,
        seek: impl Fn(&mut Self) -> Result<(), JournalError>,
        whole: impl Fn() -> bool,
        kept: impl Fn(Entry) -> T,
        weight: impl Fn(&T) -> usize,
    ) -> Result<Found<T>, JournalError> {
        if query.lines == 0 {
            return Ok(Found { lines: Vec::new(), more: false, last: None });
        }
        let end = Instant::now() + PATIENCE;
        let mut found = BTreeMap::new();
        let mut bytes = 0;
        let mut joined = Backward::default();
        // Where the lines begin that were seen, where it was not at the journal's beginning; and how long it goes on looking
        // for a line's end to stop at.
        let (mut before, mut last) = (None, None);
        let (mut cut, mut tired) = (false, None);
        // Where each line's text is left aside what wrote it tells where it begins.
        let mut ends = if self.searches() { Some(Ends::before(self, &query.select, &seek)?) } else { None };
        seek(self)?;
        while self.retreat()? {
            let is_first = match &query.behind {
                Some(begin) => order(&self.cursor()?, begin).is_le(),
                None => false,
            };
            if is_first || (query.since.is_some() && query.since > Some(self.time()?)) {
                before = Some(Position::Behind(self.cursor()?));
                break;
            }
            if tired.is_none() && self.is_beat() && Instant::now() >= end {
                tired = Some(PIECES);
            }
            let begun = match &ends {
                Some(ends) => ends.has(self)?,
                None => true,
            };
            let mut is_end = true;
            if begun || !self.passes()? {
                let piece = if self.searches() || whole() { self.piece()? } else { self.outline()? };
                if piece.partial {
                    is_end = false;
                    ends.as_mut().map_or(Ok(()), Ends::next)?;
                }
                if let Some((position, entry)) = joined.push(piece, begun)
                    && self.wanted(query, &entry)
                {
                    let line = kept(entry);
                    bytes += weight(&line);
                    found.insert(position, line);
                }
            }
            cut = found.len() >= query.lines || bytes >= PAGE;
            if let Some(left) = &mut tired {
                *left -= 1;
                last = Some(self.cursor()?).filter(|_| is_end || *left == 0);
            }
            if cut || last.is_some() {
                before = Some(Position::At(self.cursor()?));
                break;
            }
        }
        if let Some(before) = before {
            // Of each output the newest piece first, as it goes on from there.
            for piece in self.begun(&before)?.into_iter().rev() {
                let line = joined.push(piece, false).filter(|(_, entry)| self.wanted(query, entry));
                found.extend(line.map(|(position, entry)| (position, kept(entry))));
            }
        }
        let rest = joined.rest().filter(|(_, entry)| self.wanted(query, entry));
        found.extend(rest.map(|(position, entry)| (position, kept(entry))));
        let fit = full(&found, query.lines, &weight);
        let more = cut || found.len() > fit;
        let mut lines: Vec<T> = found.into_values().take(fit).collect();
        lines.reverse();
        Ok(Found { lines, more, last })
    }

    /// Where `query` goes on: behind its cursor, or behind what is there by now, of which the newest lines are its own.
    pub(super) fn begin(&mut self, query: &Query) -> Result<Begun, JournalError> {
        self.untorn(|reader| reader.begin_once(query.clone()))
    }

    fn begin_once(&mut self, query: Query) -> Result<Begun, JournalError> {
        let back = query.lines;
        let query = Query { direction: Direction::Forward, ..query };
        if let Some(cursor) = &query.cursor {
            self.seek(&Position::Behind(cursor.clone()))?;
            return Ok(query.into());
        }
        Ok(match self.newest()? {
            Some(newest) => Begun { query: Query { cursor: Some(newest), including: false, ..query }, back },
            // Seeking the tail of an empty result loses the first line to come; a moment that is past does not.
            None => Query { since: query.since.max(Some(now().saturating_sub(1_000_000))), ..query }.into(),
        })
    }

    /// The newest entry that no line is in the middle of.
    fn newest(&mut self) -> Result<Option<String>, JournalError> {
        let mut newest = None;
        self.handle.seek_tail().map_err(read)?;
        for _ in 0..PIECES {
            if !self.retreat()? {
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

    /// Looks back for the lines that are wanted of those that are there.
    pub(super) fn look(&mut self, begun: &Begun) -> Result<Start, JournalError> {
        self.untorn(|reader| reader.look_once(begun))
    }

    fn look_once(&mut self, begun: &Begun) -> Result<Start, JournalError> {
        let query = Query { lines: begun.back, ..begun.query.clone() };
        let seek = |reader: &mut Self| match &query.cursor {
            Some(newest) => reader.handle.seek_cursor(newest.as_str()).map_err(no_cursor),
            None => reader.handle.seek_tail().map_err(read),
        };
        let bytes = Cell::new(0);
        let kept = |entry: Entry| {
            bytes.set(bytes.get() + entry.weight());
            Line { cursor: entry.cursor.clone(), entry: Some(entry).filter(|_| bytes.get() <= KEPT) }
        };
        let lines = self.look_back(&query, seek, || bytes.get() <= KEPT, kept, |_| 0)?.lines;
        let Some(oldest) = lines.first().map(|line| line.cursor.clone()) else {
            return Ok(Start { lines: Vec::new(), rest: begun.query.clone() });
        };
        let all: Option<Vec<Entry>> = lines.into_iter().map(|line| line.entry).collect();
        Ok(match all {
            Some(lines) => Start { lines, rest: begun.query.clone() },
            None => {
                let rest = Query { cursor: Some(oldest), including: true, ..begun.query.clone() };
                Start { lines: Vec::new(), rest }
            }
        })
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
