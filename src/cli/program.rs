//! The program itself.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::commands::Command;
use super::failure;
use super::options::Options;

/// Makes one Linux server a place where `git push` runs a service
///
/// On the host itself the commands talk to the agent's socket, as root or as one of the group podkeeper. From another
/// machine they take --host and a token, which `podkeeper token create` makes on the host.
#[derive(Debug, Parser)]
#[command(name = "podkeeper", version, propagate_version = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let Arguments { options, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::tell_usage(&error, wants_json()),
    };
    match command.run(&options, Arguments::command()) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            failure::tell(error.as_ref(), options.json);
            ExitCode::FAILURE
        }
    }
}

/// Whether a command line that can't be read asks for JSON.
fn wants_json() -> bool {
    std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
