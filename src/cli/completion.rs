//! `podkeeper completion`, which the packages are made with.

use std::process::ExitCode;

use super::options::Outcome;
use super::show;

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints what completes the commands there.
pub fn run(wanted: &Args, mut program: clap::Command) -> Outcome {
    clap_complete::generate(wanted.shell, &mut program, "podkeeper", &mut show::out());
    Ok(ExitCode::SUCCESS)
}
