//! The few words between the two halves of a build: a line each, over a socket that is the inner one's standard input.
//!
//! What the inner one says may be a build's that has got out of its container: a line has a bound, and says nothing that is
//! believed without a look.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::error::{SandboxError, system};

/// The longest line.
const LINE: u64 = 128;

/// One end.
pub(super) struct Talk {
    stream: BufReader<UnixStream>,
}

impl Talk {
    /// Two ends; the second one is for another process's standard input.
    pub(super) fn pair() -> Result<(Self, OwnedFd), SandboxError> {
        let (ours, theirs) = UnixStream::pair().map_err(system("make a socket"))?;
        Ok((Self { stream: BufReader::new(ours) }, theirs.into()))
    }

    /// The end that is this process's standard input.
    pub(super) fn on_stdin() -> Result<Self, SandboxError> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(system("take the socket"))?;
        Ok(Self { stream: BufReader::new(stdin.into()) })
    }

    pub(super) fn say(&mut self, word: &str) -> Result<(), SandboxError> {
        self.stream.get_mut().write_all(format!("{word}\n").as_bytes()).map_err(system("talk to the build"))
    }

    /// The next line; none where the other side has ended.
    pub(super) fn hear(&mut self) -> Result<Option<String>, SandboxError> {
        let mut line = String::new();
        self.stream.by_ref().take(LINE).read_line(&mut line).map_err(system("hear of the build"))?;
        Ok(line.strip_suffix('\n').map(str::to_owned))
    }

    /// Waits for one word, where anything else is none of ours.
    pub(super) fn expect(&mut self, word: &str) -> Result<(), SandboxError> {
        match self.hear()?.as_deref() == Some(word) {
            true => Ok(()),
            false => Err(system("hear of the build")(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_heard_one_by_one_and_none_is_too_long() {
        let (mut ours, theirs) = Talk::pair().unwrap();
        let mut theirs = UnixStream::from(theirs);
        theirs.write_all(b"apart\nbuilt x\n").unwrap();
        ours.expect("apart").unwrap();
        assert_eq!(ours.hear().unwrap().as_deref(), Some("built x"));
        theirs.write_all(&[b'x'; 4096]).unwrap();
        assert_eq!(ours.hear().unwrap(), None);
        drop(theirs);
        let (mut ours, theirs) = Talk::pair().unwrap();
        drop(theirs);
        assert_eq!(ours.hear().unwrap(), None);
        assert!(ours.expect("go").is_err());
    }
}
