//! Which entries end a line that has begun with others. Who looks back would see that only at the beginning, and would have
//! to ask each entry what wrote it, which takes longer than to search its text: a field lies behind others that are compressed.
//! The journal's index leads to the pieces, of which most logs have few, and from each to what its output wrote next.

use std::collections::VecDeque;

use super::files::read;
use super::reader::{PIECES, Reader};
use super::{JournalError, Select, matches};

/// The entries behind the newest pieces before a place.
pub(super) struct Ends {
    reader: Reader,
    select: Select,
    /// When each was written, and its cursor.
    ends: VecDeque<(u64, String)>,
    /// There are no more pieces.
    over: bool,
}

impl Ends {
    /// Of the pieces of `select` before where `seek` goes. `reader` stays where it is.
    pub(super) fn before(
        reader: &Reader,
        select: &Select,
        seek: impl FnOnce(&mut Reader) -> Result<(), JournalError>,
    ) -> Result<Self, JournalError> {
        let mut reader = reader.twin()?;
        reader.handle.match_flush().map_err(read)?;
        matches::pieces(&mut reader.handle, select).map_err(read)?;
        seek(&mut reader)?;
        let mut this = Self { reader, select: select.clone(), ends: VecDeque::new(), over: false };
        for _ in 0..PIECES {
            this.next()?;
        }
        Ok(this)
    }

    /// Looks at one piece more, since one was gone over.
    pub(super) fn next(&mut self) -> Result<(), JournalError> {
        if self.over || !self.reader.retreat()? {
            self.over = true;
            return Ok(());
        }
        let piece = self.reader.outline()?;
        if !piece.partial {
            return Ok(());
        }
        let cursor = &piece.entry.cursor;
        self.reader.narrow(cursor, |handle| matches::output(handle, &piece.output()))?;
        // The first is the piece itself.
        if self.reader.advance()? && self.reader.advance()? {
            if self.ends.len() >= PIECES {
                self.ends.pop_front();
            }
            self.ends.push_back((self.reader.time()?, self.reader.cursor()?));
        }
        self.reader.narrow(cursor, |handle| matches::pieces(handle, &self.select))?;
        self.reader.retreat().map(drop)
    }

    /// Whether the entry that `reader` stands on is one.
    pub(super) fn has(&self, reader: &Reader) -> Result<bool, JournalError> {
        if self.ends.is_empty() {
            return Ok(false);
        }
        let time = reader.time()?;
        if !self.ends.iter().any(|(at, _)| *at == time) {
            return Ok(false);
        }
        let cursor = reader.cursor()?;
        Ok(self.ends.iter().any(|(_, end)| *end == cursor))
    }
}
