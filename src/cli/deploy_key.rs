//! `podkeeper deploy-key`

use std::io::Write;
use std::process::ExitCode;

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show;
use crate::api::services::DeployKey;
use crate::text::Plain;

/// Whose.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
}

/// Prints the key, a line of an `authorized_keys` file.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let answer = agent.get(&format!("/services/{}/deploy-key", segment(&wanted.name))).await?;
    if json {
        answer.print()?;
    } else {
        writeln!(show::out(), "{}", Plain::from(answer.read::<DeployKey>()?.public_key))?;
    }
    Ok(ExitCode::SUCCESS)
}
