//! `podkeeper agent`

use std::process::ExitCode;

use super::options::{Options, Outcome};
use crate::agent;

/// Runs the agent to its end.
pub fn run(options: &Options) -> Outcome {
    options.must_be_local("agent")?;
    agent::run(&options.config)?;
    Ok(ExitCode::SUCCESS)
}
