//! A line of the journal.

/// The longest line that is joined of pieces; what is longer comes in several.
pub const MAX_LINE: usize = 1024 * 1024;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies.
    pub cursor: String,
    /// When it was written, in microseconds since 1970.
    pub time: u64,
    /// Its syslog priority; 6 for what a program prints, 3 for what it prints as an error.
    pub priority: u8,
    /// The unit that it came from.
    pub unit: Option<String>,
    /// The program that it came from, as syslog names it.
    pub identifier: Option<String>,
    /// The process that it came from.
    pub pid: Option<u32>,
    /// Its bytes, as they were written, without the line's end.
    pub message: Vec<u8>,
}

impl Entry {
    /// How many bytes it takes as JSON at most, be it text or not.
    pub(super) fn weight(&self) -> usize {
        /// What stands around the line.
        const AROUND: usize = 320;
        let message = &self.message;
        let controls = message.iter().filter(|byte| **byte < b' ').count();
        let escaped = if std::str::from_utf8(message).is_ok() {
            message.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count()
        } else {
            // Each byte may be replaced by three, and all of them stand beside that in base64.
            message.len() * 2 + message.len().div_ceil(3) * 4
        };
        AROUND + message.len() + controls * 5 + escaped
    }
}

/// Some lines, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The lines.
    pub entries: Vec<Entry>,
    /// Where the next page in the same direction goes on; none at the end.
    pub next: Option<String>,
}
