//! How things are printed: tables that fit, colours only where a person looks, and nothing of others' text that commands
//! the terminal. All that the command line prints goes through [`Shown`].

use std::io::{IsTerminal, Stderr, Stdout, Write, stderr, stdout};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

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

    /// The colour of a service's or a deployment's state.
    #[must_use]
    pub fn of(state: &str) -> Self {
        match state {
            "running" | "live" => Self::Green,
            "failed" => Self::Red,
            "stopped" | "created" | "superseded" | "cancelled" => Self::Dim,
            _ => Self::Yellow,
        }
    }
}

/// A cell of a table: one line, and of one colour.
pub type Cell = (Plain, Paint);

/// The text of a field, `-` where it has none.
#[must_use]
pub fn cell(value: &Value) -> Cell {
    let text = match value {
        Value::Null => return ("-".into(), Paint::Dim),
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    };
    (text, Paint::Plain)
}

/// The same, where nothing needs no sign.
#[must_use]
pub fn or_nothing(value: &Value) -> Cell {
    if value.is_null() { (Plain::default(), Paint::Plain) } else { cell(value) }
}

/// The state of a service or a deployment.
#[must_use]
pub fn state(value: &Value) -> Cell {
    let text = value["state"].as_str().unwrap_or("-");
    (text.into(), Paint::of(text))
}

/// As much of a commit's id as a person compares.
#[must_use]
pub fn commit(value: &Value) -> Cell {
    let (text, paint) = cell(value);
    (text.chars().take(10).collect::<String>().into(), paint)
}

/// A moment to the second, in UTC.
#[must_use]
pub fn second(value: &Value) -> Plain {
    let time = value.as_str().unwrap_or_default();
    format!("{}Z", time.get(..19).unwrap_or(time)).into()
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
pub fn ago(value: &Value, now: Timestamp) -> Cell {
    let Some(then) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return ("-".into(), Paint::Dim);
    };
    (length(now.duration_since(then)).into(), Paint::Plain)
}

/// Prints rows below their headings, each column as wide as it must be.
pub fn table(out: &mut impl Write, headings: &[&str], rows: &[Vec<Cell>], colours: bool) -> std::io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let headings: Vec<Cell> = headings.iter().map(|text| (Plain::from(*text), Paint::Dim)).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (column, (text, paint)) in row.iter().enumerate() {
            line.push_str(&paint.on(text, colours));
            if column + 1 < row.len() {
                line.push_str(&" ".repeat(widths[column] - text.chars().count() + 2));
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned_and_has_colours_only_where_they_are_wanted() {
        let rows = vec![
            vec![("blog".into(), Paint::Plain), ("running".into(), Paint::Green)],
            vec![("a".into(), Paint::Plain), cell(&Value::Null)],
        ];
        let shown = |colours| {
            let mut out = Vec::new();
            table(&mut out, &["NAME", "STATE"], &rows, colours).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(false), "NAME  STATE\nblog  running\na     -\n");
        let mut out = Vec::new();
        table(&mut out, &["NAME", "WHY"], &[vec![cell(&json!("a")), or_nothing(&Value::Null)]], false).unwrap();
        assert_eq!(out, b"NAME  WHY\na\n");
        assert!(shown(true).contains("blog  \x1b[32mrunning\x1b[m\n"));
        assert_eq!(cell(&json!("a\x1b[31m\nb")).0, "a b");
    }

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
            assert_eq!(printed(true, size), "red \x1b[31mtext\x1b[m\nand 2Jmore", "pieces of {size}");
            assert_eq!(printed(false, size), written);
        }
        let mut bytes = Vec::new();
        let mut out = Shown::new(&mut bytes, true);
        write!(out, "asked: ").unwrap();
        out.clear().unwrap();
        drop(out);
        assert_eq!(bytes, b"asked: \x1b[H\x1b[2J");
        assert_eq!(second(&json!("\x1b[2J")), "Z");
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
    fn moments_are_told_as_ages() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (then, text) in
            [("2026-01-01T23:59:57Z", "3s"), ("2026-01-01T22:00:00Z", "2h"), ("2025-12-01T00:00:00Z", "32d")]
        {
            assert_eq!(ago(&json!(then), now).0, text);
        }
        assert_eq!(ago(&Value::Null, now).0, "-");
    }
}
