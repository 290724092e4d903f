//! What is wrong with a repository's `podkeeper.toml`.

use std::fmt;

/// What is wrong with such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// The line, from 1 on, where it is one line's.
    pub line: Option<usize>,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, ", line {line}: {}", self.why),
            None => write!(f, ": {}", self.why),
        }
    }
}
