//! `podkeeper man`, which the packages are made with.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

use super::Outcome;
use super::program::Arguments;

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// The folder
    folder: PathBuf,
}

/// Writes the manual pages.
pub fn run(wanted: &Wanted) -> Outcome {
    clap_mangen::generate_to(Arguments::command(), &wanted.folder)?;
    Ok(ExitCode::SUCCESS)
}
