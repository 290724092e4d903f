//! `podkeeper completion`, which the packages are made with.

use std::process::ExitCode;

use clap::CommandFactory;

use super::program::Arguments;
use super::{Outcome, show};

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints what completes the commands there.
pub fn run(wanted: &Wanted) -> Outcome {
    clap_complete::generate(wanted.shell, &mut Arguments::command(), "podkeeper", &mut show::out());
    Ok(ExitCode::SUCCESS)
}
