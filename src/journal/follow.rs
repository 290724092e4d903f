//! Following: the lines from a place on as they come, until nobody listens or a deployment has ended.

use super::join::{Forward, Piece};
use super::matches;
use super::reader::{LOOK, Position, Reader, is_since};
use super::{Entry, FINAL, JournalError, Query, Select};

/// How much text goes on together.
const BATCH: usize = 32 * 1024;

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

impl Reader {
    /// Hands the lines to `sink`, those together that are there together, until it says no or nobody listens; those to come
    /// too where `more` are wanted. A deployment's last entry ends it.
    pub(super) fn follow(
        &mut self,
        query: &Query,
        more: bool,
        mut sink: impl FnMut(Vec<Entry>) -> bool,
    ) -> Result<(), JournalError> {
        let mut position = Position::forward(query);
        if self.untorn(|reader| reader.is_behind_end(query, &position))? {
            return Ok(());
        }
        let mut joined = self.untorn(|reader| reader.start(&position))?;
        let mut torn = 0;
        loop {
            let others = self.files.changed();
            match self.read_on(query, &mut position, &mut joined, &mut sink) {
                Ok(true) => torn = 0,
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.resume(error, &mut torn, &position)?;
                    continue;
                }
            }
            if others {
                self.untorn(|reader| reader.renew(&position))?;
                continue;
            }
            if !more || !self.is_listened_to() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
            self.untorn(|reader| reader.settle(&position))?;
        }
    }

    /// Hands on what there is behind `position`, and moves that along; false where nothing more is wanted.
    fn read_on(
        &mut self,
        query: &Query,
        position: &mut Position,
        joined: &mut Forward,
        sink: &mut impl FnMut(Vec<Entry>) -> bool,
    ) -> Result<bool, JournalError> {
        let mut batch = Batch::default();
        loop {
            let (piece, over) = match self.next_piece(query, joined, position) {
                Ok(Some(found)) => found,
                end => {
                    // What was read is handed on, however reading ended.
                    let goes_on = batch.lines.is_empty() || sink(batch.take());
                    return end.map(|_| goes_on);
                }
            };
            *position = Position::Behind(piece.entry.cursor.clone());
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

    /// The next piece that has to be looked at, and whether it is the last that there will be.
    fn next_piece(
        &mut self,
        query: &Query,
        joined: &Forward,
        position: &mut Position,
    ) -> Result<Option<(Piece, bool)>, JournalError> {
        let mut passed = false;
        loop {
            if !self.advance()? {
                if passed {
                    *position = Position::Behind(self.cursor()?);
                }
                return Ok(None);
            }
            let is_step = matches!(query.select, Select::Deployment(_)) && self.has(matches::STATE)?;
            if is_step || !self.passes_behind(joined)? {
                break;
            }
            passed = true;
            // Where reading must begin anew, little of this is read twice.
            if self.is_beat() {
                *position = Position::Behind(self.cursor()?);
            }
        }
        let piece = self.piece()?;
        let over = self.is_end(query, &piece.entry)?;
        Ok(Some((piece, over)))
    }

    /// Whether the entry that it stands on is a line of its own in which nothing is found.
    pub(super) fn passes_behind(&mut self, joined: &Forward) -> Result<bool, JournalError> {
        Ok(self.passes()?
            && (joined.is_empty() || !self.with_output(|container, priority| joined.waits_for(container, priority))?))
    }

    /// Whether the entry that it stands on is the last of the deployment that is asked for.
    fn is_end(&mut self, query: &Query, entry: &Entry) -> Result<bool, JournalError> {
        let is_agents = entry.identifier.as_deref() == Some(matches::AGENT) && is_since(query, entry);
        if !is_agents || !matches!(query.select, Select::Deployment(_)) {
            return Ok(false);
        }
        Ok(self.text(matches::STATE)?.is_some_and(|state| FINAL.contains(&state.as_str())))
    }

    /// Whether the last entry of the deployment that is asked for lies before `position`, where nothing more follows.
    fn is_behind_end(&mut self, query: &Query, position: &Position) -> Result<bool, JournalError> {
        let (Select::Deployment(id), Position::At(cursor) | Position::Behind(cursor)) = (&query.select, position)
        else {
            return Ok(false);
        };
        self.narrow(cursor, |handle| matches::end(handle, *id))?;
        let end = self.before(position)?;
        self.widen(cursor)?;
        Ok(end.is_some_and(|piece| is_since(query, &piece.entry)))
    }
}
