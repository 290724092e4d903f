//! conmon splits long lines into several entries, each but the last marked as partial. Here they are one line again.

use std::collections::{HashMap, VecDeque};

use super::{Entry, MAX_LINE};

/// conmon writes a piece of a line that goes on only when it has this much of it.
const PIECE: usize = 8 * 1024;

/// Whether more of a line follows a piece of so many bytes that is marked as partial. What a container's output ends
/// with is marked, too, where it has no line's end; nothing follows that, and it is shorter.
pub(super) fn goes_on(bytes: usize) -> bool {
    bytes >= PIECE
}

/// One journal entry.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) entry: Entry,
    /// The container, where it is one; the pieces of different containers, and of its two outputs, interleave.
    pub(super) container: Option<String>,
    /// More of this line follows.
    pub(super) partial: bool,
}

/// A container's output; the priority tells which of the two.
pub(super) type Output = (Option<String>, u8);

impl Piece {
    pub(super) fn output(&self) -> Output {
        (self.container.clone(), self.entry.priority)
    }
}

/// How many unfinished lines are held; a container that is killed together with its conmon leaves one.
const UNFINISHED: usize = 64;

/// Joins pieces that come oldest first.
#[derive(Debug, Default)]
pub(super) struct Forward {
    /// The one that has waited longest for more of it comes first.
    unfinished: VecDeque<(Output, Vec<u8>)>,
}

impl Forward {
    /// The line that `piece` ends, if it does.
    pub(super) fn push(&mut self, mut piece: Piece) -> Option<Entry> {
        if !piece.partial && self.unfinished.is_empty() {
            return Some(piece.entry);
        }
        let output = piece.output();
        let begun = self.unfinished.iter().position(|(of, _)| *of == output);
        let mut line = begun.and_then(|at| self.unfinished.remove(at)).map(|(_, line)| line).unwrap_or_default();
        line.append(&mut piece.entry.message);
        if piece.partial && line.len() < MAX_LINE {
            if self.unfinished.len() >= UNFINISHED {
                self.unfinished.pop_front();
            }
            self.unfinished.push_back((output, line));
            return None;
        }
        piece.entry.message = line;
        Some(piece.entry)
    }

    /// Whether what this output writes next may belong to a line that has begun.
    pub(super) fn waits_for(&self, container: Option<&[u8]>, priority: u8) -> bool {
        self.unfinished.iter().any(|(of, _)| is_of(of, container, priority))
    }

    /// Whether no line has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.unfinished.is_empty()
    }
}

fn is_of((of, priority): &Output, container: Option<&[u8]>, other: u8) -> bool {
    *priority == other && of.as_ref().map(String::as_bytes) == container
}

/// Joins pieces that come newest first. Each line has a place, counted from 0 for the newest.
#[derive(Debug, Default)]
pub(super) struct Backward {
    /// The lines that take the pieces before them; how many there may be is bounded by what a host's containers are.
    open: HashMap<Output, (usize, Entry)>,
    lines: usize,
}

impl Backward {
    /// Takes a piece, and gives the line that is now known to be whole. `begun`: other pieces of the line may come before.
    /// The beginning of a line whose end wasn't seen is left out.
    pub(super) fn push(&mut self, piece: Piece, begun: bool) -> Option<(usize, Entry)> {
        let output = piece.output();
        if piece.partial {
            let (_, line) = self.open.get_mut(&output)?;
            if line.message.len() < MAX_LINE {
                let mut message = piece.entry.message;
                message.append(&mut line.message);
                line.message = message;
                return None;
            }
        }
        let position = self.lines;
        self.lines += 1;
        if piece.container.is_some() && (piece.partial || begun) {
            return self.open.insert(output, (position, piece.entry));
        }
        Some((position, piece.entry))
    }

    /// The lines that no piece came before.
    pub(super) fn rest(self) -> impl Iterator<Item = (usize, Entry)> {
        self.open.into_values()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn piece(number: u64, container: &str, text: &str, partial: bool) -> Piece {
        let entry = Entry {
            cursor: number.to_string(),
            time: number,
            priority: 6,
            unit: None,
            identifier: None,
            pid: None,
            message: text.as_bytes().to_vec(),
        };
        Piece { entry, container: Some(container.into()), partial }
    }

    fn pieces() -> Vec<Piece> {
        vec![
            piece(1, "a", "one", false),
            piece(2, "a", "long ", true),
            piece(3, "b", "other ", true),
            piece(4, "a", "line", false),
            piece(5, "b", "line", false),
            piece(6, "a", "unfinished", true),
        ]
    }

    fn shown(entries: &[Entry]) -> Vec<(String, String)> {
        entries.iter().map(|e| (e.cursor.clone(), String::from_utf8(e.message.clone()).unwrap())).collect()
    }

    #[test]
    fn both_ways_give_the_same_lines() {
        let mut forward = Forward::default();
        let lines: Vec<Entry> = pieces().into_iter().filter_map(|piece| forward.push(piece)).collect();
        let wanted = [("1", "one"), ("4", "long line"), ("5", "other line")];
        assert_eq!(shown(&lines), wanted.map(|(cursor, text)| (cursor.to_owned(), text.to_owned())));
        let mut backward = Backward::default();
        let mut back: BTreeMap<usize, Entry> = pieces()
            .into_iter()
            .rev()
            .filter_map(|piece| {
                let begun = ["4", "5"].contains(&piece.entry.cursor.as_str());
                backward.push(piece, begun)
            })
            .collect();
        assert_eq!(back.values().map(|entry| entry.cursor.as_str()).collect::<Vec<_>>(), ["1"]);
        back.extend(backward.rest());
        assert_eq!(back.into_values().rev().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn what_is_known_to_be_whole_waits_for_nothing() {
        let mut backward = Backward::default();
        assert_eq!(backward.push(piece(2, "a", "whole", false), false).map(|(position, _)| position), Some(0));
        let of_a_build = Piece { container: None, ..piece(1, "", "whole too", false) };
        assert_eq!(backward.push(of_a_build, true).map(|(position, _)| position), Some(1));
        assert!(backward.push(piece(0, "a", "", false), true).is_none() && backward.rest().count() == 1);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut forward = Forward::default();
        let long = "x".repeat(16 * 1024);
        let lines = (0..100).filter_map(|n| forward.push(piece(n, "a", &long, true))).collect::<Vec<_>>();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].message.len() >= MAX_LINE);
        let mut backward = Backward::default();
        let whole = (0..200).filter_map(|n| backward.push(piece(n, "a", &long, n > 0), n == 0)).collect::<Vec<_>>();
        let bytes = whole.into_iter().chain(backward.rest()).map(|(_, line)| line.message.len()).sum::<usize>();
        assert_eq!(bytes, 200 * long.len(), "what is too long for one line comes in several");
    }

    #[test]
    fn what_is_left_without_an_end_makes_no_other_line_lose_its_beginning() {
        let mut forward = Forward::default();
        for dead in 0..UNFINISHED as u64 {
            assert!(forward.push(piece(dead, &format!("dead {dead}"), "killed", true)).is_none());
        }
        let number = UNFINISHED as u64;
        assert!(forward.push(piece(number, "a", "long ", true)).is_none());
        for dead in 0..UNFINISHED as u64 - 1 {
            assert!(forward.push(piece(number + 1 + dead, &format!("also dead {dead}"), "killed", true)).is_none());
        }
        let line = forward.push(piece(2 * number, "a", "line", false)).unwrap();
        assert_eq!(line.message, b"long line");
        assert!(forward.unfinished.len() <= UNFINISHED);
    }
}
