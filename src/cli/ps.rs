//! `podkeeper ps`

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::Agent;
use super::options::Outcome;
use super::show::{Cell, ago, cell, commit, condition, how, state, text};
use super::{pages, show, tables};
use crate::api::services::Service;
use crate::api::status::Status;
use crate::names::ServiceName;

/// Lists the services.
pub async fn run(agent: &Agent, json: bool) -> Outcome {
    if json {
        let services: Vec<Value> = pages::rows(agent, "/services", usize::MAX).await?;
        writeln!(show::out(), "{}", json!({ "services": services }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let services: Vec<Service> = pages::rows(agent, "/services", usize::MAX).await?;
    // The last deployment's commit is not what runs where it failed, and none where it built nothing.
    let states: BTreeMap<ServiceName, Status> = agent.get("/services/status").await?.read()?;
    let now = Timestamp::now();
    let row = |service: &Service| {
        let status = states.get(&service.name).map(|status| &status.state);
        let running = status.and_then(|status| status.commit.as_ref());
        vec![
            text(service.name.as_str()),
            status.map_or_else(|| condition(service.state), how),
            service.last_deployment.as_ref().map_or_else(|| cell(None::<&str>), |last| state(last.state)),
            cell(service.release),
            commit(running),
            ago(Some(service.created), now),
            cell(service.url.as_deref()),
        ]
    };
    let rows: Vec<Vec<Cell>> = services.iter().map(row).collect();
    let headings = ["NAME", "STATE", "DEPLOYMENT", "RELEASE", "COMMIT", "AGE", "URL"];
    tables::list(&headings, &rows, "there are no services; `podkeeper create NAME` makes one")?;
    Ok(ExitCode::SUCCESS)
}
