//! `podkeeper audit`: who did what on this host, and whether that was changed.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::Agent;
use super::show::{Cell, Paint, cell, colours, or_nothing, second, table};
use super::{Outcome, pages, show};

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List what was done and what was refused, the newest first, each with its time in UTC
    List(pages::Most),
    /// Tell whether a row of the audit log is missing or was changed
    Verify,
}

/// `podkeeper audit`
pub async fn run(agent: &Agent, command: AuditCommand, json: bool) -> Outcome {
    match command {
        AuditCommand::List(most) => list(agent, &most, json).await,
        AuditCommand::Verify => verify(agent, json).await,
    }
}

async fn list(agent: &Agent, most: &pages::Most, json: bool) -> Outcome {
    let rows = pages::rows(agent, "/audit", "rows", most.limit()).await?;
    let dropped = agent.call(Method::GET, "/audit?limit=1", None).await?["dropped"].take();
    let mut out = show::out();
    if json {
        writeln!(out, "{}", json!({ "rows": rows, "dropped": dropped }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |row: &Value| {
        vec![
            cell(&row["id"]),
            (second(&row["time"]), Paint::Plain),
            cell(&row["actor"]),
            cell(&row["address"]),
            (what(row).into(), Paint::Plain),
            result(row),
            or_nothing(&row["detail"]),
        ]
    };
    let rows: Vec<Vec<Cell>> = rows.iter().map(row).collect();
    table(&mut out, &["ROW", "TIME", "WHO", "FROM", "WHAT", "RESULT", "DETAIL"], &rows, colours())?;
    for part in dropped.as_array().into_iter().flatten() {
        writeln!(out, "{}", gone(part))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is no longer in the log.
fn gone(part: &Value) -> String {
    let what = if part["refused"] == true { "refused" } else { "done" };
    format!(
        "The oldest {} rows of what was {what} are no longer kept, the last since {}.",
        part["rows"],
        second(&part["time"])
    )
}

/// A route is told by its path: `POST /services/blog/start`.
fn what(row: &Value) -> String {
    let (action, target) = (cell(&row["action"]).0, cell(&row["target"]).0);
    match action.split_once(" /") {
        Some((method, _)) if target.starts_with('/') => format!("{method} {target}"),
        _ => format!("{action} {target}"),
    }
}

/// A status of what was done, or the code of the problem that it met; refusals that come again are one row.
fn result(row: &Value) -> Cell {
    let (text, paint) = cell(&row["result"]);
    let paint = if text.starts_with('2') || text == "done" { paint } else { Paint::Red };
    match row["count"].as_u64() {
        Some(count) if count > 1 || row["since"].is_string() => {
            (format!("{text} ({count} times since {})", second(&row["since"])).into(), paint)
        }
        _ => (text, paint),
    }
}

async fn verify(agent: &Agent, json: bool) -> Outcome {
    let answer = agent.call(Method::GET, "/audit/verify", None).await?;
    let whole = answer["whole"] == true;
    if json {
        writeln!(show::out(), "{answer}")?;
        return Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if whole {
        let head = answer["head"].as_str().unwrap_or("none");
        writeln!(show::out(), "the audit log is whole: {} rows, the last hash is {head}", answer["rows"])?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(show::err(), "podkeeper: the audit log was changed at row {}", answer["broken_at"])?;
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_was_done_to_what() {
        let route = json!({ "action": "POST /services/:name/start", "target": "/services/blog/start", "result": "202", "count": 1 });
        assert_eq!((what(&route).as_str(), &*result(&route).0), ("POST /services/blog/start", "202"));
        let again = json!({
            "action": "GET /services", "target": "the same again", "result": "not-signed-in", "count": 7,
            "time": "2026-01-31T08:01:00.5Z", "since": "2026-01-31T08:00:00.5Z",
        });
        assert_eq!(what(&again), "GET /services the same again");
        assert_eq!(result(&again), ("not-signed-in (7 times since 2026-01-31T08:00:00Z)".into(), Paint::Red));
        let dropped = json!({ "refused": true, "rows": 412, "time": "2026-01-31T08:00:00.5Z" });
        let told = "The oldest 412 rows of what was refused are no longer kept, the last since 2026-01-31T08:00:00Z.";
        assert_eq!(gone(&dropped), told);
    }
}
