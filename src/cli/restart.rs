//! `podkeeper restart`

use http::Method;
use serde_json::json;

use super::client::{Agent, segment};
use super::follow::{Waiting, follow};
use super::options::Outcome;

/// What is started anew.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    #[command(flatten)]
    waiting: Waiting,
}

/// Starts it anew.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    again(agent, &wanted.name, wanted.waiting, json).await
}

/// Starts the service `name` anew from the image that it has.
pub async fn again(agent: &Agent, name: &str, waiting: Waiting, json: bool) -> Outcome {
    let path = format!("/services/{}/restart", segment(name));
    let deployment = agent.call(Method::POST, &path, Some(&json!({ "quick": true }))).await?;
    follow(agent, &deployment, waiting, json).await
}
