//! `podkeeper deployments`: what was deployed, how it went, and what a rollback may name.

use std::io::Write;
use std::process::ExitCode;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Agent, segment};
use super::show::{Cell, Paint, ago, cell, colours, commit, length, or_nothing, state, table};
use super::{Outcome, pages, show};

/// Which deployments.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// The service
    name: String,
    #[command(flatten)]
    most: pages::Most,
}

/// The release with what became of it: one that is gone can't be gone back to.
fn release(deployment: &Value, releases: &Value) -> Cell {
    let number = &deployment["release"];
    let (text, paint) = cell(number);
    let is_kept = releases["releases"].as_array().into_iter().flatten().any(|kept| kept["release"] == *number);
    match deployment["state"].as_str() {
        Some("live") if *number == releases["current"] => (format!("{text} (current)").into(), Paint::Green),
        Some("live") if is_kept => (format!("{text} (kept)").into(), paint),
        Some("live") => (format!("{text} (gone)").into(), Paint::Dim),
        _ => (text, paint),
    }
}

fn cause(deployment: &Value) -> Cell {
    let (text, paint) = cell(&deployment["cause"]);
    match deployment["from_release"].as_u64() {
        Some(from) if text == "rollback" => (format!("{text} to {from}").into(), paint),
        _ => (text, paint),
    }
}

/// How long it took from its first step to its last, once that is its end.
fn took(deployment: &Value) -> Cell {
    let steps = deployment["steps"].as_object().into_iter().flatten();
    let mut steps: Vec<Timestamp> = steps.filter_map(|(_, at)| at.as_str()?.parse().ok()).collect();
    steps.sort_unstable();
    match (steps.first(), steps.last(), deployment["state"].as_str()) {
        (Some(first), Some(last), Some("live" | "failed" | "cancelled")) => {
            (length(last.duration_since(*first)).into(), Paint::Plain)
        }
        _ => cell(&Value::Null),
    }
}

fn why(deployment: &Value) -> Cell {
    match deployment["state"].as_str() {
        Some("failed") => or_nothing(&deployment["problem"]["detail"]),
        _ => or_nothing(&Value::Null),
    }
}

/// Prints the newest first.
pub async fn run(agent: &Agent, wanted: &Wanted, json: bool) -> Outcome {
    let path = format!("/services/{}", segment(&wanted.name));
    let list = format!("{path}/deployments");
    let deployments = pages::rows(agent, &list, "deployments", wanted.most.limit()).await?;
    let releases = agent.call(Method::GET, &format!("{path}/releases"), None).await?;
    let mut out = show::out();
    if json {
        writeln!(out, "{}", json!({ "deployments": deployments, "releases": releases["releases"] }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let row = |deployment: &Value| {
        vec![
            cell(&deployment["id"]),
            state(deployment),
            release(deployment, &releases),
            cause(deployment),
            commit(&deployment["commit"]),
            cell(&deployment["actor"]),
            ago(&deployment["steps"]["queued"], now),
            took(deployment),
            why(deployment),
        ]
    };
    let rows: Vec<Vec<Cell>> = deployments.iter().map(row).collect();
    let headings = ["ID", "STATE", "RELEASE", "CAUSE", "COMMIT", "BY", "AGE", "TOOK", "WHY"];
    table(&mut out, &headings, &rows, colours())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_says_whether_it_can_be_gone_back_to() {
        let shown = |state: &str, number: u32| {
            let releases = json!({ "releases": [{ "release": 4 }, { "release": 3 }], "current": 4 });
            release(&json!({ "state": state, "release": number }), &releases).0
        };
        assert_eq!([shown("live", 4), shown("live", 3), shown("live", 2)], ["4 (current)", "3 (kept)", "2 (gone)"]);
        assert_eq!([shown("failed", 5), shown("starting", 6)], ["5", "6"]);
    }

    #[test]
    fn how_long_it_took_is_told_once_it_is_over() {
        let steps = json!({ "queued": "2026-01-01T00:00:00Z", "building": "2026-01-01T00:00:01Z", "live": "2026-01-01T00:01:05Z" });
        assert_eq!(took(&json!({ "state": "live", "steps": steps })).0, "1m");
        assert_eq!(took(&json!({ "state": "building", "steps": steps })).0, "-");
    }
}
