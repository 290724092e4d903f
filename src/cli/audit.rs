//! `podkeeper audit`: who did what on this host, and whether that was changed.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Agent;
use super::options::Outcome;
use super::show::{Cell, Paint, cell, or_nothing, second, text};
use super::tables::table;
use super::{pages, show};
use crate::api::audit::{AuditRow, Dropped, Verified};

/// What is asked; without more, the list.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    most: pages::Most,
}

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what was done and what was refused, the newest first, each with its time in UTC
    List(pages::Most),
    /// Tell whether a row of the audit log is missing or was changed
    Verify,
}

impl Args {
    /// Asks it.
    pub async fn run(self, agent: &Agent, json: bool) -> Outcome {
        match self.command.unwrap_or(Command::List(self.most)) {
            Command::List(most) => list(agent, &most, json).await,
            Command::Verify => verify(agent, json).await,
        }
    }
}

/// What a page tells beside its rows.
#[derive(Deserialize)]
struct Gone<T> {
    dropped: T,
}

async fn list(agent: &Agent, most: &pages::Most, json: bool) -> Outcome {
    if json {
        let rows: Vec<Value> = pages::rows(agent, "/audit", most.limit()).await?;
        let Gone { dropped } = agent.get("/audit?limit=1").await?.read::<Gone<Value>>()?;
        writeln!(show::out(), "{}", json!({ "rows": rows, "dropped": dropped }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<AuditRow> = pages::rows(agent, "/audit", most.limit()).await?;
    let Gone { dropped } = agent.get("/audit?limit=1").await?.read::<Gone<Vec<Dropped>>>()?;
    let row = |row: &AuditRow| {
        vec![
            text(row.id.to_string()),
            text(second(row.time)),
            text(&row.actor),
            cell(row.address.as_ref()),
            text(what(row)),
            result(row),
            or_nothing(row.detail.as_ref()),
        ]
    };
    let rows: Vec<Vec<Cell>> = rows.iter().map(row).collect();
    let mut out = show::out();
    table(&mut out, &["ROW", "TIME", "ACTOR", "ADDRESS", "ACTION", "RESULT", "DETAIL"], &rows)?;
    for part in &dropped {
        writeln!(out, "{}", gone(part))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is no longer in the log.
fn gone(part: &Dropped) -> String {
    let what = if part.refused { "refused" } else { "done" };
    let (rows, time) = (part.rows, second(part.time));
    format!("The oldest {rows} rows of what was {what} are no longer kept, the last since {time}.")
}

/// A route is told by its path: `POST /services/blog/start`.
fn what(row: &AuditRow) -> String {
    match row.action.split_once(" /") {
        Some((method, _)) if row.target.starts_with('/') => format!("{method} {}", row.target),
        _ => format!("{} {}", row.action, row.target),
    }
}

/// A status of what was done, or the code of the problem that it met; refusals that come again are one row.
fn result(row: &AuditRow) -> Cell {
    let good = row.result.starts_with('2') || row.result == "done";
    let paint = if good { Paint::Plain } else { Paint::Red };
    let text = match row.since {
        Some(since) => format!("{} ({} times since {})", row.result, row.count, second(since)),
        None => row.result.clone(),
    };
    (text.into(), paint)
}

async fn verify(agent: &Agent, json: bool) -> Outcome {
    let answer = agent.get("/audit/verify").await?;
    let verified: Verified = answer.read()?;
    if json {
        answer.print()?;
    }
    match verified {
        Verified::Whole { rows, head, .. } => {
            if !json {
                let head = head.as_deref().unwrap_or("none");
                writeln!(show::out(), "the audit log is whole: {rows} rows, the last hash is {head}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Verified::Broken { broken_at, .. } => {
            if !json {
                writeln!(
                    show::err(),
                    "podkeeper: the audit log was changed at row {broken_at}\n\
                     Next: compare that row and those before it with the agent's own lines: journalctl -u podkeeper"
                )?;
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_was_done_to_what() {
        let row = |action: &str, target: &str, result: &str, count: u32, since: Option<&str>| {
            let row = json!({
                "id": 1, "refused": false, "time": "2026-01-31T08:01:00.5Z", "actor": "nobody", "action": action,
                "target": target, "result": result, "count": count, "since": since, "hash": "",
            });
            serde_json::from_value::<AuditRow>(row).unwrap()
        };
        let route = row("POST /services/:name/start", "/services/blog/start", "202", 1, None);
        assert_eq!((what(&route).as_str(), &*result(&route).0), ("POST /services/blog/start", "202"));
        let again = row("GET /services", "the same again", "not-signed-in", 7, Some("2026-01-31T08:00:00.5Z"));
        assert_eq!(what(&again), "GET /services the same again");
        assert_eq!(result(&again), ("not-signed-in (7 times since 2026-01-31T08:00:00Z)".into(), Paint::Red));
        let dropped = Dropped { refused: true, rows: 412, time: "2026-01-31T08:00:00.5Z".parse().unwrap() };
        let told = "The oldest 412 rows of what was refused are no longer kept, the last since 2026-01-31T08:00:00Z.";
        assert_eq!(gone(&dropped), told);
    }
}
