//! What a transient unit runs: systemd.service(5), "COMMAND LINES".

use super::UnitsError;
use crate::config::system;
use crate::names::AbsPath;

/// A program's path, its words from the first on, which is the path again, and whether it may fail
/// (org.freedesktop.systemd1(5), ExecStart).
pub(super) type Exec = (String, Vec<String>, bool);

/// A program and its arguments, each as the program will get it. None holds a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv {
    program: AbsPath,
    arguments: Vec<String>,
}

impl Argv {
    /// The program at this path, with these arguments.
    pub fn new(program: &AbsPath, arguments: impl IntoIterator<Item = String>) -> Result<Self, UnitsError> {
        let (program, arguments): (_, Vec<String>) = (program.clone(), arguments.into_iter().collect());
        if arguments.iter().any(|argument| argument.contains(char::is_control)) {
            return Err(UnitsError::Argument(program));
        }
        Ok(Self { program, arguments })
    }

    /// As systemd takes it: it would put a variable's value in the place of `$NAME`, and makes one `$` of `$$`.
    pub(super) fn exec(&self, may_fail: bool) -> Exec {
        let program = self.program.to_string();
        let literal = self.arguments.iter().map(|argument| argument.replace('$', "$$"));
        let words = std::iter::once(program.clone()).chain(literal).collect();
        (program, words, may_fail)
    }
}

/// This program, as it is called at the moment: a later update may put another in its place.
#[must_use]
pub fn own_program() -> AbsPath {
    let told = std::env::current_exe().ok().and_then(|path| path.try_into().ok());
    told.unwrap_or_else(|| AbsPath::known(system::PODKEEPER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(argument: &str) -> Result<Argv, UnitsError> {
        Argv::new(&AbsPath::known("/bin/true"), ["--".to_owned(), argument.to_owned()])
    }

    #[test]
    fn a_program_gets_what_was_given() {
        for (given, written) in [
            ("", ""),
            ("a b", "a b"),
            ("$HOME", "$$HOME"),
            ("${HOME}$$", "$${HOME}$$$$"),
            ("100%h \\ \"'", "100%h \\ \"'"),
            ("/ä", "/ä"),
        ] {
            let words = ["/bin/true", "--", written].map(str::to_owned).to_vec();
            assert_eq!(argv(given).unwrap().exec(true), ("/bin/true".to_owned(), words, true));
        }
        for given in ["\n", "a\0", "a\tb", "\u{1b}[2J", "\u{7f}", "\u{9b}"] {
            assert!(matches!(argv(given), Err(UnitsError::Argument(_))), "{given:?}");
        }
    }
}
