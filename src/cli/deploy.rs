//! `podkeeper deploy`

use http::Method;
use serde_json::json;

use super::client::{Agent, segment};
use super::follow::{Waiting, follow};
use super::options::Outcome;
use super::restart;

/// What is deployed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    /// Start the same image anew, without a build
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Builds the newest commit and starts it.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    if wanted.quick {
        return restart::again(agent, &wanted.name, wanted.waiting, json).await;
    }
    let path = format!("/services/{}/start", segment(&wanted.name));
    let deployment = agent.call(Method::POST, &path, Some(&json!({}))).await?;
    follow(agent, &deployment, wanted.waiting, json).await
}
