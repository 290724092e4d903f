//! Log lines.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::journal;
use crate::names::{DeploymentId, ReleaseNumber};
use crate::text::{self, Plain, PlainLines};

/// How many lines one answer may have, and how many that were there before a stream may begin with.
pub const LINES: RangeInclusive<u64> = 0..=10_000;
/// How many it has where nobody says it.
pub const USUAL_LINES: u64 = 200;
/// The priorities of syslog, from the gravest on.
pub const PRIORITIES: RangeInclusive<u64> = 0..=7;

/// Which lines are wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// How many at most.
    #[serde(default, deserialize_with = "super::fields::number")]
    #[schemars(range(min = *LINES.start(), max = *LINES.end()), extend("default" = USUAL_LINES))]
    pub lines: Option<u64>,
    /// Not before this moment (RFC 3339).
    #[serde(default, deserialize_with = "super::fields::moment")]
    #[schemars(with = "Option<super::fields::Moment>")]
    pub since: Option<Timestamp>,
    /// Not after it.
    #[serde(default, deserialize_with = "super::fields::moment")]
    #[schemars(with = "Option<super::fields::Moment>")]
    pub until: Option<Timestamp>,
    /// Beyond this line, in the direction.
    pub cursor: Option<String>,
    /// `backward`, the default: the newest lines first served; or `forward`.
    #[serde(default)]
    pub direction: Direction,
    /// Only lines that this regular expression finds something in.
    pub grep: Option<String>,
    /// Only lines of this syslog priority or a graver one.
    #[serde(default, deserialize_with = "super::fields::number")]
    #[schemars(range(min = *PRIORITIES.start(), max = *PRIORITIES.end()))]
    pub priority: Option<u64>,
    /// Only this release's lines.
    #[serde(default, deserialize_with = "super::fields::number")]
    #[schemars(with = "Option<ReleaseNumber>")]
    pub release: Option<u64>,
    /// Go on with what comes, as `text/event-stream`.
    #[serde(default, deserialize_with = "super::fields::is_set")]
    pub follow: bool,
}

/// Which way a page goes.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To newer lines.
    Forward,
    /// To older lines.
    #[default]
    Backward,
}

/// Some lines, oldest first.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct LogPage {
    /// The lines.
    #[schemars(length(max = *LINES.end()))]
    pub entries: Vec<LogEntry>,
    /// What to send as `cursor` for the page after this one in the same direction; null at the end.
    pub cursor: Option<String>,
}

/// A line.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct LogEntry {
    /// Where it lies.
    pub cursor: String,
    /// When it was written.
    #[schemars(with = "super::fields::Moment")]
    pub time: Timestamp,
    /// Its syslog priority: 6 for what a program prints, 3 for what it prints as an error.
    #[schemars(range(min = *PRIORITIES.start(), max = *PRIORITIES.end()))]
    pub priority: u8,
    /// The release that wrote it.
    pub release: Option<ReleaseNumber>,
    /// The deployment whose build wrote it.
    pub build: Option<DeploymentId>,
    /// The line. Bytes that are no UTF-8 are replaced; `bytes` then has them all.
    pub message: String,
    /// The line's bytes in base64, where they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// What syslog calls the program that wrote it.
    #[serde(skip)]
    identifier: String,
    #[serde(skip)]
    pid: Option<u32>,
}

impl From<journal::Entry> for LogEntry {
    fn from(entry: journal::Entry) -> Self {
        let unit = entry.unit.as_deref().and_then(|unit| unit.strip_suffix(".service")).unwrap_or_default();
        let (message, bytes) = match String::from_utf8(entry.message) {
            Ok(message) => (message, None),
            Err(error) => {
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(STANDARD.encode(error.as_bytes())))
            }
        };
        Self {
            cursor: entry.cursor,
            time: i64::try_from(entry.time)
                .ok()
                .and_then(|us| Timestamp::from_microsecond(us).ok())
                .unwrap_or_default(),
            priority: entry.priority,
            release: unit.split_once('@').and_then(|(_, number)| number.parse().ok()),
            build: unit.strip_prefix("build-").and_then(|id| id.parse().ok()),
            message,
            bytes,
            identifier: entry.identifier.unwrap_or_default(),
            pid: entry.pid,
        }
    }
}

/// What a line takes besides its text, its cursor above all.
const AROUND: usize = 320;

impl LogEntry {
    /// How many bytes it takes as JSON, or a few more.
    #[must_use]
    pub fn size(&self) -> usize {
        let escaped = |byte: u8| match byte {
            b'"' | b'\\' => 2,
            0..=31 => 6,
            _ => 1,
        };
        AROUND + self.message.bytes().map(escaped).sum::<usize>() + self.bytes.as_ref().map_or(0, String::len)
    }

    /// The line as `journalctl -o short-iso` prints it on the host of this name, in UTC: nothing that commands a terminal
    /// is in it, and what looks like another line is none.
    #[must_use]
    pub fn short(&self, host: &str) -> String {
        let pid = self.pid.map_or_else(String::new, |pid| format!("[{pid}]"));
        let time = self.time.strftime("%Y-%m-%dT%H:%M:%S+00:00");
        let head = format!("{time} {host} {}{pid}: ", Plain::from(&self.identifier));
        let more = format!("\n{}", " ".repeat(head.chars().count()));
        format!("{head}{}\n", PlainLines::from(&self.message).replace('\n', &more))
    }

    /// The line alone, for whoever reads it at a terminal: its colours stay.
    #[must_use]
    pub fn coloured(&self) -> String {
        format!("{}\n", text::coloured(self.message.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_as_text_commands_no_terminal_and_looks_like_no_other() {
        let message = "\x1b[31mred\x1b]0;title\x07\x1b[2J\n1970-01-01T00:00:00+00:00 h other[1]: forged\u{202e}";
        let entry = journal::Entry {
            cursor: String::new(),
            time: 0,
            priority: 6,
            unit: None,
            identifier: Some("app\x1b[2J\n".into()),
            pid: Some(7),
            message: message.into(),
        };
        let entry = LogEntry::from(entry);
        let head = r"1970-01-01T00:00:00+00:00 h app\x1b[2J[7]: ";
        let more = " ".repeat(head.len());
        let (first, second) = (r"\x1b]0;title\x07\x1b[2J", r"1970-01-01T00:00:00+00:00 h other[1]: forged\u{202e}");
        assert_eq!(entry.short("h"), format!("{head}red{first}\n{more}{second}\n"));
        assert_eq!(entry.coloured(), format!("\x1b[31mred{first}\x1b[m\n{second}\n"));
        // Who takes JSON has all of it.
        assert_eq!(entry.message, message);
    }

    #[test]
    fn a_lines_size_is_that_of_its_json() {
        for message in
            [&b"plain"[..], b"", b"\x1b[31mred\x1b[0m", b"\"\\\t\x01", "ü€🦀".as_bytes(), &[0xff, 0x80, 0x01]]
        {
            let message = message.repeat(1000);
            let cursor = "c".repeat(160);
            let entry =
                journal::Entry { cursor, time: 1, priority: 6, unit: None, identifier: None, pid: None, message };
            let entry = LogEntry::from(entry);
            let json = serde_json::to_string(&entry).unwrap().len();
            assert!((json..json + 5 * 1000).contains(&entry.size()), "{json} {}", entry.size());
        }
    }
}
