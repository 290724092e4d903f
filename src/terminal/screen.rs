//! What a terminal shows, kept on the server, so that whoever comes later or was too slow is given the screen and not
//! all that led to it.

use std::num::NonZeroU16;

use super::error::Size;

/// How many lines above the screen are kept.
const HISTORY: usize = 200;
/// How much plain text may wait to be looked at.
const WAITING: usize = 64 * 1024;
/// No escape sequence that matters is longer.
const TAIL: usize = 64;

/// A screen. It is bounded, whatever is written to it.
pub struct Screen {
    parser: vt100::Parser,
    /// Plain text that was not looked at yet: of a flood only its end will ever be seen.
    waiting: Vec<u8>,
    /// The last bytes, which may be the beginning of a sequence or a character.
    tail: Vec<u8>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

/// Whether `byte` does nothing but write, or move within the text.
fn is_plain(byte: u8) -> bool {
    byte >= b' ' || matches!(byte, b'\n' | b'\r' | b'\t' | 0x07 | 0x08)
}

impl Screen {
    /// An empty one.
    #[must_use]
    pub fn new(size: Size) -> Self {
        let parser = vt100::Parser::new(cells(size.rows), cells(size.cols), HISTORY);
        Self { parser, waiting: Vec::new(), tail: Vec::new() }
    }

    /// Draws what a program has written.
    pub fn feed(&mut self, bytes: &[u8]) {
        let kept = self.tail.len().min(TAIL.saturating_sub(bytes.len()));
        self.tail.drain(..self.tail.len() - kept);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        if !bytes.iter().copied().all(is_plain) {
            self.look();
            self.parser.process(bytes);
            return;
        }
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() > WAITING {
            self.forget();
            if self.waiting.len() > WAITING / 2 {
                self.look();
            }
        }
    }

    /// Forgets waiting text that has scrolled out of the history by what follows it: each of its lines begins at the
    /// left, so nothing that stays depends on it.
    fn forget(&mut self) {
        let lines = HISTORY + usize::from(self.parser.screen().size().0.get()) + 1;
        let ends = self.waiting.windows(2).enumerate().rev().filter(|(_, pair)| *pair == b"\r\n");
        if let Some((end, _)) = ends.map(|(at, pair)| (at + 2, pair)).nth(lines) {
            self.waiting.drain(..end);
        }
    }

    fn look(&mut self) {
        if !self.waiting.is_empty() {
            self.parser.process(&self.waiting);
            self.waiting.clear();
            self.waiting.shrink_to(WAITING / 8);
        }
    }

    /// Gives it another size.
    pub fn resize(&mut self, size: Size) {
        self.look();
        self.parser.screen_mut().set_size(cells(size.rows), cells(size.cols));
    }

    /// What brings any terminal of this size to show this screen, with the lines above it.
    #[must_use]
    pub fn dump(&mut self) -> Vec<u8> {
        self.look();
        let screen = self.parser.screen_mut();
        let (rows, cols) = screen.size();
        let alternate = screen.alternate_screen();
        let mut dump = String::from("\x1bc\x1b[3J");
        screen.set_scrollback(usize::MAX);
        let above = if alternate { 0 } else { screen.scrollback() };
        for line in (1..=above).rev() {
            screen.set_scrollback(line);
            if let Some(row) = screen.rows_formatted(0, cols.get()).next() {
                dump.push_str(&row);
            }
            dump.push_str("\x1b[m\r\n");
        }
        screen.set_scrollback(0);
        if above > 0 {
            // Out of the way of what is drawn next, into the terminal's own history.
            dump.push_str(&"\r\n".repeat(usize::from(rows.get()) - 1));
        }
        if alternate {
            dump.push_str("\x1b[?1049h");
        }
        dump.push_str(&screen.state_formatted());
        let mut dump = dump.into_bytes();
        dump.extend_from_slice(unfinished(&self.tail));
        dump
    }
}

/// The end of `tail` that is the beginning of an escape sequence or of a character: what comes next belongs to it.
fn unfinished(tail: &[u8]) -> &[u8] {
    if let Some(at) = tail.iter().rposition(|byte| *byte == 0x1b)
        && !is_finished(&tail[at + 1..])
    {
        return &tail[at..];
    }
    // A character of UTF-8 has at most four bytes; only its first one is not a continuation.
    let first = tail.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
    let length = match tail.get(first) {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    if tail.len() - first < length { &tail[first..] } else { &[] }
}

/// Whether a sequence has its end, `rest` being what follows its ESC (ECMA-48).
fn is_finished(rest: &[u8]) -> bool {
    match rest.split_first() {
        None => false,
        Some((b'[', rest)) => rest.iter().any(|byte| (0x40..=0x7e).contains(byte)),
        // A string ends with BEL, or with ESC \, whose ESC would be the last one.
        Some((b']' | b'P' | b'X' | b'^' | b'_', rest)) => rest.contains(&0x07),
        Some((0x20..=0x2f, rest)) => rest.iter().any(|byte| (0x30..=0x7e).contains(byte)),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { cols: 20, rows: 4 };

    fn text(screen: &mut Screen) -> String {
        screen.look();
        screen.parser.screen().contents()
    }

    fn shown(bytes: &[u8]) -> Screen {
        let mut screen = Screen::new(SIZE);
        screen.feed(bytes);
        screen
    }

    #[test]
    fn a_dump_shows_the_same_with_its_history_and_modes() {
        let mut lines: String = (0..300).map(|n| format!("line \x1b[3{}m{n}\x1b[m\r\n", n % 8)).collect();
        lines.push_str("\x1b[?2004h\x1b[?1h\x1b[2;5Hhere");
        let mut first = shown(lines.as_bytes());
        let mut second = shown(&first.dump());
        let (one, two) = (first.parser.screen_mut(), second.parser.screen_mut());
        assert_eq!(one.state_formatted(), two.state_formatted());
        assert!(two.bracketed_paste() && two.application_cursor());
        one.set_scrollback(150);
        two.set_scrollback(150);
        assert_eq!(one.contents_formatted(), two.contents_formatted());
        assert!(two.contents().contains("line 1"));
    }

    #[test]
    fn the_alternate_screen_is_shown_as_one() {
        let mut first = shown(b"below\r\n\x1b[?1049h\x1b[Hfull");
        let mut second = shown(&first.dump());
        assert!(second.parser.screen().alternate_screen());
        assert_eq!(text(&mut second), "full");
    }

    #[test]
    fn a_flood_is_the_same_whether_it_is_looked_at_or_not() {
        for ends in ["\r\n", "\n"] {
            let flood: String = (0..40_000).map(|n| format!("{n} {}{ends}", "é".repeat(n % 7))).collect();
            let mut lazy = Screen::new(SIZE);
            let mut eager = Screen::new(SIZE);
            for piece in flood.as_bytes().chunks(4093) {
                lazy.feed(piece);
                eager.parser.process(piece);
            }
            assert!(lazy.waiting.len() <= WAITING);
            lazy.look();
            let (one, two) = (lazy.parser.screen_mut(), eager.parser.screen_mut());
            assert_eq!(one.state_formatted(), two.state_formatted());
            one.set_scrollback(HISTORY);
            two.set_scrollback(HISTORY);
            assert_eq!(one.contents_formatted(), two.contents_formatted());
        }
    }

    #[test]
    fn a_dump_goes_on_in_the_middle_of_a_sequence_and_a_character() {
        for (written, rest, seen) in [
            ("a\x1b[3", "1mb", "ab"),
            ("a\x1b", "[31mb", "ab"),
            ("a\x1b]0;ti", "tle\x07b", "ab"),
            ("a\x1b(", "Bb", "ab"),
            ("ab", "", "ab"),
        ] {
            let mut second = shown(&shown(written.as_bytes()).dump());
            second.feed(rest.as_bytes());
            assert_eq!(text(&mut second), seen, "{written:?}");
        }
        let all = "a🦀é".as_bytes();
        for cut in 0..all.len() {
            let mut second = shown(&shown(&all[..cut]).dump());
            second.feed(&all[cut..]);
            assert_eq!(text(&mut second), "a🦀é", "cut at {cut}");
        }
    }

    #[test]
    fn nothing_makes_it_grow() {
        let mut screen = Screen::new(SIZE);
        screen.feed(b"\x1b]0;");
        for _ in 0..1000 {
            screen.feed(&[b'x'; 4096]);
        }
        screen.feed(b"\x07");
        for _ in 0..1000 {
            screen.feed(&[b'y'; 4096]);
            screen.feed(&"e\u{301}\u{301}\u{301}\u{301}".repeat(1000).into_bytes());
        }
        assert!(screen.waiting.capacity() <= 2 * WAITING && screen.dump().len() < 200 * 1024);
    }
}
