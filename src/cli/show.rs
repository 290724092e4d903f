//! How things are printed: colours only where a person looks, and nothing of others' text that commands
//! the terminal. All that the command line prints goes through [`Shown`].

use std::fmt::Display;
use std::io::{IsTerminal, Stderr, Stdout, Write, stderr, stdout};

use jiff::{SignedDuration, Timestamp};
use terminal_size::{Width, terminal_size_of};

use crate::api::status::{Condition, State};
use crate::names::CommitId;
use crate::store::DeploymentState;
use crate::text::{Plain, coloured};

/// The longest line that is looked at as a whole. A longer one is cut where it has this length.
const LINE: usize = 8 << 20;

/// A standard stream of this program. On a terminal only text and its colours go through, whoever wrote it, each line as a
/// whole; what reads from a pipe or a file gets all bytes.
#[derive(Debug)]
pub struct Shown<W: Write> {
    stream: W,
    on_terminal: bool,
    line: Vec<u8>,
}

/// Standard output.
pub fn out() -> Shown<Stdout> {
    Shown::new(stdout(), stdout().is_terminal())
}

/// Standard error.
pub fn err() -> Shown<Stderr> {
    Shown::new(stderr(), stderr().is_terminal())
}

/// Tells that something is done of which there is nothing to show: in words, or with `--json` by an empty object.
pub fn done(json: bool, words: &str) -> std::io::Result<()> {
    writeln!(out(), "{}", if json { "{}" } else { words })
}

/// Says something beside the answer, on standard error: a line, or with `--json` an object.
pub fn note(json: bool, text: &str) -> std::io::Result<()> {
    if json { writeln!(err(), "{}", serde_json::json!({ "note": text })) } else { writeln!(err(), "podkeeper: {text}") }
}

/// Standard output for a terminal session alone, whose program draws on this terminal by itself.
pub fn session() -> Stdout {
    stdout()
}

impl<W: Write> Shown<W> {
    fn new(stream: W, on_terminal: bool) -> Self {
        Self { stream, on_terminal, line: Vec::new() }
    }

    /// Whether a person reads it.
    pub fn is_on_terminal(&self) -> bool {
        self.on_terminal
    }

    /// Takes away what the terminal shows.
    pub fn clear(&mut self) -> std::io::Result<()> {
        self.flush()?;
        if self.on_terminal { self.stream.write_all(b"\x1b[H\x1b[2J") } else { Ok(()) }
    }

    fn put(&mut self) -> std::io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.stream.write_all(coloured(&line).as_bytes())
    }
}

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.on_terminal {
            return self.stream.write(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LINE {
                self.put()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.put()?;
        self.stream.flush()
    }
}

impl<W: Write> Drop for Shown<W> {
    fn drop(&mut self) {
        let _ = self.put();
    }
}

/// A colour of the terminal's own palette (ECMA-48, SGR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Good.
    Green,
    /// Under way.
    Yellow,
    /// Bad.
    Red,
    /// Beside the point.
    Dim,
    /// As it is.
    Plain,
}

/// Whether standard output takes colours: it is a terminal, and nobody has asked for none (no-color.org).
#[must_use]
pub fn colours() -> bool {
    let none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !none && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How many columns standard output has; none where it is no terminal.
#[must_use]
pub fn columns() -> Option<usize> {
    let stdout = stdout();
    let size = if stdout.is_terminal() { terminal_size_of(&stdout) } else { None };
    size.map(|(Width(columns), _)| columns.into())
}

impl Paint {
    /// `text` in this colour.
    #[must_use]
    pub fn on(self, text: &str, colours: bool) -> String {
        let code = match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Dim => "2",
            Self::Plain => return text.to_owned(),
        };
        if colours { format!("\x1b[{code}m{text}\x1b[m") } else { text.to_owned() }
    }
}

/// A cell of a table: one line, and of one colour.
pub type Cell = (Plain, Paint);

/// A text as it is.
#[must_use]
pub fn text(text: impl Into<Plain>) -> Cell {
    (text.into(), Paint::Plain)
}

/// The text of a field, `-` where it has none.
#[must_use]
pub fn cell<T: Display>(value: Option<T>) -> Cell {
    value.map_or_else(|| ("-".into(), Paint::Dim), |value| text(value.to_string()))
}

/// The same, where nothing needs no sign.
#[must_use]
pub fn or_nothing<T: Display>(value: Option<T>) -> Cell {
    value.map_or_else(|| text(""), |value| text(value.to_string()))
}

/// What a service does.
#[must_use]
pub fn condition(condition: Condition) -> Cell {
    let paint = match condition {
        Condition::Running => Paint::Green,
        Condition::Failed => Paint::Red,
        Condition::Stopped | Condition::NeverDeployed => Paint::Dim,
        Condition::Starting | Condition::Restarting => Paint::Yellow,
    };
    (condition.as_str().into(), paint)
}

/// The same, and how often it was started again lately where it is at that.
#[must_use]
pub fn how(state: &State) -> Cell {
    let (word, paint) = condition(state.state);
    match state.recent_restarts {
        lately @ 1.. if state.state == Condition::Restarting => (format!("{word} ({lately} in 10 min)").into(), paint),
        _ => (word, paint),
    }
}

/// How far a deployment is.
#[must_use]
pub fn state(state: DeploymentState) -> Cell {
    let paint = match state {
        DeploymentState::Live => Paint::Green,
        DeploymentState::Failed => Paint::Red,
        DeploymentState::Superseded | DeploymentState::Cancelled => Paint::Dim,
        DeploymentState::Queued
        | DeploymentState::Fetching
        | DeploymentState::Building
        | DeploymentState::Starting
        | DeploymentState::Checking => Paint::Yellow,
    };
    (state.as_str().into(), paint)
}

/// As much of a commit's id as a person compares.
#[must_use]
pub fn commit(commit: Option<&CommitId>) -> Cell {
    cell(commit.map(|commit| commit.as_str().chars().take(10).collect::<String>()))
}

/// A moment to the second, in UTC.
#[must_use]
pub fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A length of time, as a person says it.
#[must_use]
pub fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago a moment was.
#[must_use]
pub fn ago(then: Option<Timestamp>, now: Timestamp) -> Cell {
    cell(then.map(|then| length(now.duration_since(then))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_text_has_nothing_but_colours() {
        let written = "red \x1b[31mtext\x1b]0;title\x07\x1b[2J\nand \u{9b}2J\x07\u{202e}more";
        let printed = |on_terminal, size| {
            let mut bytes = Vec::new();
            let mut out = Shown::new(&mut bytes, on_terminal);
            written.as_bytes().chunks(size).for_each(|piece| out.write_all(piece).unwrap());
            drop(out);
            String::from_utf8(bytes).unwrap()
        };
        for size in 1..written.len() {
            let shown = "red \x1b[31mtext\\x1b]0;title\\x07\\x1b[2J\x1b[m\nand \\u{9b}2J\\x07\\u{202e}more";
            assert_eq!(printed(true, size), shown, "pieces of {size}");
            assert_eq!(printed(false, size), written);
        }
        let mut bytes = Vec::new();
        let mut out = Shown::new(&mut bytes, true);
        write!(out, "asked: ").unwrap();
        out.clear().unwrap();
        drop(out);
        assert_eq!(bytes, b"asked: \x1b[H\x1b[2J");
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut out = Shown::new(std::io::sink(), true);
        for _ in 0..100 {
            out.write_all(&vec![b'x'; 1 << 20]).unwrap();
            assert!(out.line.len() < LINE);
        }
    }

    #[test]
    fn a_crash_loop_is_told_with_its_count() {
        let state = |state: &str, lately: u32| {
            let text = serde_json::json!({ "state": state, "sub_state": null, "since": null, "release": null,
                "commit": null, "restarts": 9, "recent_restarts": lately, "health": null });
            how(&serde_json::from_value(text).unwrap()).0.to_string()
        };
        assert_eq!(state("restarting", 7), "restarting (7 in 10 min)");
        assert_eq!((state("restarting", 0), state("running", 1)), ("restarting".into(), "running".into()));
    }

    #[test]
    fn moments_are_told_as_ages() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (then, text) in
            [("2026-01-01T23:59:57Z", "3s"), ("2026-01-01T22:00:00Z", "2h"), ("2025-12-01T00:00:00Z", "32d")]
        {
            assert_eq!(ago(Some(then.parse().unwrap()), now).0, text);
        }
        assert_eq!(ago(None, now).0, "-");
        assert_eq!(second("2026-01-31T08:00:00.999Z".parse().unwrap()), "2026-01-31T08:00:00Z");
    }
}
