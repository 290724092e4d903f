//! `podkeeper man`, which the packages are made with.

use std::path::PathBuf;
use std::process::ExitCode;

use super::options::Outcome;

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder
    folder: PathBuf,
}

/// Writes the manual pages.
pub fn run(wanted: &Args, program: clap::Command) -> Outcome {
    clap_mangen::generate_to(program, &wanted.folder)?;
    Ok(ExitCode::SUCCESS)
}
