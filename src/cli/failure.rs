//! A command that failed, as it is told: for a person in lines, with `--json` as one object on one line.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use serde::Serialize;

use super::client::ClientError;
use super::follow::Ended;
use super::show;
use crate::problem::{Code, words};

/// What stands before the next step, in the words of an error.
const NEXT: &str = "\nNext: ";

/// The object: as the interface writes its problems.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Told<'a> {
    /// The code of the agent's problem; none is one of this program's own.
    problem: Option<Code>,
    detail: &'a str,
    hint: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn new(problem: Option<Code>, words: &'a str) -> Self {
        let (detail, hint) = words.split_once(NEXT).map_or((words, None), |(detail, hint)| (detail, Some(hint)));
        Self { problem, detail, hint }
    }
}

fn code(error: &(dyn Error + 'static)) -> Option<Code> {
    match error.downcast_ref() {
        Some(ClientError::Refused { code, .. }) => *code,
        Some(_) => None,
        None => error.downcast_ref::<Ended>().and_then(Ended::code),
    }
}

fn print(told: &Told<'_>) {
    // Whoever doesn't read it still gets the exit status.
    let _ = writeln!(show::err(), "{}", serde_json::json!(told));
}

/// Tells on standard error why a command failed.
pub(super) fn tell(error: &(dyn Error + 'static), json: bool) {
    let words = words(error);
    if json {
        print(&Told::new(code(error), &words));
    } else {
        let _ = writeln!(show::err(), "podkeeper: {words}");
    }
}

/// Tells what of a command line can't be read, or prints the help or the version that was asked for.
pub(super) fn tell_usage(error: &clap::Error, json: bool) -> ExitCode {
    let is_error = !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let text = error.render();
    if !is_error {
        let shown = if show::colours() { text.ansi().to_string() } else { text.to_string() };
        let _ = write!(show::out(), "{shown}");
    } else if json {
        let text = text.to_string();
        // The rest says how the command is used.
        let (first, _) = text.split_once("\n\n").unwrap_or((&text, ""));
        let detail = first.strip_prefix("error: ").unwrap_or(first).trim();
        print(&Told { problem: None, detail, hint: Some("--help tells what the command takes") });
    } else {
        let _ = write!(show::err(), "{text}");
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_and_what_to_do_next_are_told_apart() {
        let refused = ClientError::Refused {
            code: Some(Code::NotFound),
            detail: "It is gone.".into(),
            hint: Some("Look.".into()),
        };
        let words = words(&refused);
        let told = Told { problem: Some(Code::NotFound), detail: "It is gone.", hint: Some("Look.") };
        assert_eq!(Told::new(code(&refused), &words), told);
        assert_eq!(Told::new(None, "no"), Told { problem: None, detail: "no", hint: None });
    }
}
