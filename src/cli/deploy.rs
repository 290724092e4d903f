//! `podkeeper deploy`

use http::Method;
use serde_json::json;

use super::client::{Agent, segment};
use super::follow::{Waiting, follow};
use super::options::Outcome;
use super::restart;
use crate::names::CommitId;

/// What is deployed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    /// Start the same image anew, without a build
    #[arg(long)]
    quick: bool,
    /// Build this commit, by its whole id, in the place of the newest; one that runs already is not built again
    #[arg(long, value_name = "COMMIT", conflicts_with = "quick")]
    commit: Option<CommitId>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Builds the newest commit, or the one that is named, and starts it.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    if wanted.quick {
        return restart::again(agent, &wanted.name, wanted.waiting, json).await;
    }
    let path = format!("/services/{}/start", segment(&wanted.name));
    let body = wanted.commit.as_ref().map_or_else(|| json!({}), |commit| json!({ "commit": commit }));
    let deployment = agent.call(Method::POST, &path, Some(&body)).await?;
    follow(agent, &deployment, wanted.waiting, json).await
}
