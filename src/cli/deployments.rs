//! `podkeeper deployments`: what was deployed, how it went, and what a rollback may name.

use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show::{Cell, Paint, ago, cell, commit, length, or_nothing, state, text};
use super::{pages, show, tables};
use crate::api::deployments::{Deployment, Releases};
use crate::store::{Cause, DeploymentState};

/// Which deployments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    #[command(flatten)]
    most: pages::Most,
}

/// The release with what became of it: one that is gone can't be gone back to.
fn release(deployment: &Deployment, releases: &Releases) -> Cell {
    let Some(number) = deployment.release else { return cell(None::<&str>) };
    let is_kept = releases.releases.iter().any(|kept| kept.release == number);
    match deployment.state {
        DeploymentState::Live if releases.current == Some(number) => {
            (format!("{number} (current)").into(), Paint::Green)
        }
        DeploymentState::Live if is_kept => text(format!("{number} (kept)")),
        DeploymentState::Live => (format!("{number} (gone)").into(), Paint::Dim),
        _ => text(number.to_string()),
    }
}

fn cause(deployment: &Deployment) -> Cell {
    let word = deployment.cause.as_str();
    match deployment.from_release {
        Some(from) if deployment.cause == Cause::Rollback => text(format!("{word} to {from}")),
        _ => text(word),
    }
}

/// How long it took from its first step to its last, once that is its end.
fn took(deployment: &Deployment) -> Cell {
    let (first, last) = (deployment.steps.values().min(), deployment.steps.values().max());
    let ended = deployment.state.is_final() && deployment.state != DeploymentState::Superseded;
    let length = first.zip(last).filter(|_| ended).map(|(first, last)| length(last.duration_since(*first)));
    cell(length)
}

fn why(deployment: &Deployment) -> Cell {
    let problem = deployment.problem.as_ref().filter(|_| deployment.state == DeploymentState::Failed);
    or_nothing(problem.map(|problem| problem.detail.clone()).or(deployment.waits_for.as_ref().map(ToString::to_string)))
}

/// Prints the newest first.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let path = format!("/services/{}", segment(&wanted.name));
    let (list, most) = (format!("{path}/deployments"), wanted.most.limit());
    if json {
        #[derive(Deserialize)]
        struct Kept {
            releases: Value,
        }
        let deployments: Vec<Value> = pages::rows(agent, &list, most).await?;
        let Kept { releases } = agent.get(&format!("{path}/releases")).await?.read()?;
        writeln!(show::out(), "{}", json!({ "deployments": deployments, "releases": releases }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let deployments: Vec<Deployment> = pages::rows(agent, &list, most).await?;
    let releases: Releases = agent.get(&format!("{path}/releases")).await?.read()?;
    let now = Timestamp::now();
    let row = |deployment: &Deployment| {
        vec![
            text(deployment.id.to_string()),
            state(deployment.state),
            release(deployment, &releases),
            cause(deployment),
            commit(deployment.commit.as_ref()),
            text(&deployment.actor),
            ago(deployment.steps.get(&DeploymentState::Queued).copied(), now),
            took(deployment),
            why(deployment),
        ]
    };
    let rows: Vec<Vec<Cell>> = deployments.iter().map(row).collect();
    let headings = ["ID", "STATE", "RELEASE", "CAUSE", "COMMIT", "BY", "AGE", "TOOK", "WHY"];
    tables::list(&headings, &rows, &format!("`{}` was never deployed", wanted.name))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(state: &str, number: u32, steps: &Value) -> Deployment {
        let deployment = json!({
            "id": 1, "service": "blog", "cause": "push", "actor": "token:me", "state": state, "release": number,
            "steps": steps,
        });
        serde_json::from_value(deployment).unwrap()
    }

    #[test]
    fn a_release_says_whether_it_can_be_gone_back_to() {
        let kept = |number: u32| json!({ "release": number, "deployment": 1, "cause": "push", "created": "2026-01-01T00:00:00Z" });
        let releases = json!({ "releases": [kept(4), kept(3)], "current": 4, "before": 3 });
        let releases: Releases = serde_json::from_value(releases).unwrap();
        let shown = |state: &str, number: u32| release(&deployment(state, number, &json!({})), &releases).0;
        assert_eq!([shown("live", 4), shown("live", 3), shown("live", 2)], ["4 (current)", "3 (kept)", "2 (gone)"]);
        assert_eq!([shown("failed", 5), shown("starting", 6)], ["5", "6"]);
    }

    #[test]
    fn how_long_it_took_is_told_once_it_is_over() {
        let steps = json!({ "queued": "2026-01-01T00:00:00Z", "building": "2026-01-01T00:00:01Z", "live": "2026-01-01T00:01:05Z" });
        assert_eq!(took(&deployment("live", 1, &steps)).0, "1m");
        assert_eq!(took(&deployment("building", 1, &steps)).0, "-");
    }
}
