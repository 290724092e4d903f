//! Why a terminal can't be had, and which size one may have.

use std::ops::RangeInclusive;

use thiserror::Error;

use crate::names::{ServiceName, SessionName};
use crate::podman::PodmanError;
use crate::problem::{Code, Problem};
use crate::store::StoreError;
use crate::units::UnitsError;

/// A terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    /// How many columns a window may have.
    pub const COLS: RangeInclusive<u16> = 2..=1000;
    /// How many rows.
    pub const ROWS: RangeInclusive<u16> = 1..=500;

    /// A size as a client names it.
    pub fn parse(cols: u64, rows: u64) -> Result<Self, TerminalError> {
        match (u16::try_from(cols), u16::try_from(rows)) {
            (Ok(cols), Ok(rows)) if Self::COLS.contains(&cols) && Self::ROWS.contains(&rows) => Ok(Self { cols, rows }),
            _ => Err(TerminalError::Size),
        }
    }
}

/// Why a terminal can't be had.
#[derive(Debug, Error)]
pub enum TerminalError {
    /// Podman.
    #[error(transparent)]
    Podman(#[from] PodmanError),
    /// systemd.
    #[error(transparent)]
    Units(#[from] UnitsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pseudo-terminal.
    #[error("can't {what}")]
    Pty {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file.
    #[error("can't {what}")]
    File {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A size that no terminal has.
    #[error("a terminal has {} to {} columns and {} to {} rows", Size::COLS.start(), Size::COLS.end(), Size::ROWS.start(), Size::ROWS.end())]
    Size,
    /// No session of this id.
    #[error("there is no such session")]
    Unknown,
    /// The name is another session's.
    #[error("a session is named `{0}` already")]
    Taken(SessionName),
    /// Too many.
    #[error("{0} sessions are open, and this host takes no more")]
    Full(u32),
    /// No container to have a shell in.
    #[error("`{0}` does not run")]
    NotRunning(ServiceName),
    /// Its container has no shell.
    #[error("the container of `{0}` has neither bash nor sh")]
    NoShell(ServiceName),
    /// The shell's image could not be had.
    #[error("the shell's image could not be made: it ended with status {0}")]
    Image(i32),
    /// The network of the isolated shell is not closed.
    #[error("the isolated shell's network could not be closed, so it was not started")]
    Open,
    /// Processes of a session go on after its end.
    #[error("processes of the session could not be ended")]
    Left,
    /// The program takes no more input.
    #[error("the program does not read what it is sent")]
    Stuck,
    /// The program has ended.
    #[error("the session has ended")]
    Ended,
    /// The agent stops.
    #[error("the agent is stopping")]
    Stopping,
}

impl TerminalError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Self::Podman(error) => return error.problem(),
            Self::Units(error) => return error.problem(),
            Self::Store(error) => return error.problem(),
            Self::Pty { .. } | Self::File { .. } => {
                (Code::Internal, "the agent's log tells why: `journalctl -u podkeeper`")
            }
            Self::Size => (Code::BadRequest, "send the size of your window"),
            Self::Unknown => (Code::NotFound, "`list` tells which sessions there are"),
            Self::Taken(_) => (Code::Conflict, "attach to it, or take another name"),
            Self::Full(_) => (Code::Exhausted, "close one, or raise `shell.sessions`"),
            Self::NotRunning(_) => (Code::Conflict, "`podkeeper deploy NAME`, or POST /services/NAME/start, starts it"),
            Self::NoShell(_) => (Code::NoShell, "add a shell to its image"),
            Self::Image(_) => (Code::BuildFailed, "the lines above tell why"),
            Self::Open => (Code::Internal, "install podkeeper-host again; `podkeeper doctor` tells more"),
            Self::Left => (Code::Internal, "the agent's log tells why: `journalctl -u podkeeper`"),
            Self::Stuck => (Code::Conflict, "press Ctrl-C, or close the session"),
            Self::Ended => (Code::NotFound, "open another"),
            Self::Stopping => (Code::Restarting, "open another in a moment"),
        };
        Problem::new(code, self.to_string()).with_hint(hint)
    }
}
