//! Why the journal can't be read, and what a client is told of it.

use thiserror::Error;

use crate::problem::{Code, Problem};

/// Why the journal can't be read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// libsystemd.
    #[error("the journal can't be read")]
    Read(#[source] std::io::Error),
    /// A cursor that isn't one.
    #[error("that is no cursor of this journal")]
    Cursor,
    /// A pattern that isn't a regular expression.
    #[error("the pattern is no regular expression")]
    Pattern(#[source] Box<regex::Error>),
    /// As many readers as there may be are at work.
    #[error("too many read the journal at once")]
    Busy,
    /// The reading thread ended, or nobody listened to it any more.
    #[error("the journal's reader ended")]
    Ended,
}

impl JournalError {
    /// Whether the file that was read was just being changed: journald writes, cuts and renames its files under whoever
    /// reads them, and what is half written reads as damaged. Opened anew, it is there whole.
    pub(super) fn is_torn(&self) -> bool {
        matches!(self, Self::Read(error) if error.raw_os_error() == Some(nix::libc::EBADMSG))
    }

    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Cursor | Self::Pattern(_) => Problem::new(Code::BadRequest, crate::problem::chain(self)),
            Self::Busy => Problem::new(Code::Exhausted, self.to_string())
                .with_hint("close a log stream, or wait until a search has ended; then try again"),
            Self::Read(_) | Self::Ended => Problem::new(Code::JournalUnavailable, self.to_string())
                .with_hint("`podkeeper doctor` on the host tells what is wrong"),
        }
    }
}
