//! `podkeeper stop`

use std::io::Write;
use std::process::ExitCode;

use http::Method;
use serde_json::json;

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show;

/// What is stopped.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
}

/// Stops it.
pub async fn run(agent: &Agent, Args { name }: &Args, json: bool) -> Outcome {
    let answer = agent.call(Method::POST, &format!("/services/{}/stop", segment(name)), Some(&json!({}))).await?;
    if json {
        answer.print()?;
    } else {
        writeln!(show::out(), "{name} is stopped; podkeeper deploy {name} starts it")?;
    }
    Ok(ExitCode::SUCCESS)
}
