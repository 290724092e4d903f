//! `podkeeper rollback`

use http::Method;
use serde_json::json;

use super::client::{Agent, segment};
use super::follow::{Waiting, follow};
use super::options::Outcome;

/// To what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    /// The release; without it the one before, and called again the one before that
    release: Option<u32>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Brings it back.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let body = wanted.release.map_or_else(|| json!({}), |release| json!({ "release": release }));
    let path = format!("/services/{}/rollback", segment(&wanted.name));
    let deployment = agent.call(Method::POST, &path, Some(&body)).await?;
    follow(agent, &deployment, wanted.waiting, json).await
}
