//! `podkeeper host`: how the host is, what takes its disk, and what the agent's regular look could not do.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::client::Agent;
use super::show::{Cell, Paint, ago, cell, colours, table};
use super::{Outcome, show};

/// How often it is asked, a second each, until what takes the disk was measured.
const TRIES: u32 = 60;

/// `podkeeper host`
pub async fn run(agent: &Agent, json: bool) -> Outcome {
    let mut answer = agent.call(Method::GET, "/host", None).await?;
    for _ in 0..TRIES {
        if answer["measuring"] != true || !answer["space"].is_null() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        answer = agent.call(Method::GET, "/host", None).await?;
    }
    let mut out = show::out();
    if json {
        writeln!(out, "{answer}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    table(&mut out, &["WHAT", "HOW"], &facts(&answer, now), colours())?;
    if answer["space"].is_object() {
        let measured = ago(&answer["space"]["measured"], now).0;
        writeln!(out, "\nWhat takes the disk, as it was measured {measured} ago")?;
        table(&mut out, &["WHAT", "SIZE", ""], &space(&answer["space"]), colours())?;
    }
    let troubles: Vec<&Value> = answer["troubles"].as_array().into_iter().flatten().collect();
    if !troubles.is_empty() {
        writeln!(out, "\nWhat the regular look could not do")?;
    }
    for trouble in troubles {
        writeln!(out, "{}", sentence(trouble, now))?;
        if let Some(hint) = trouble["hint"].as_str() {
            writeln!(out, "  next: {hint}")?;
        }
    }
    if answer["more_troubles"] == true {
        writeln!(out, "and more")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A trouble in words.
pub(super) fn sentence(trouble: &Value, now: Timestamp) -> String {
    let text = |field: &str| trouble[field].as_str().unwrap_or("-").to_owned();
    let about = trouble["service"].as_str().map(|service| format!("{service}: ")).unwrap_or_default();
    let (since, times) = (ago(&trouble["since"], now).0, cell(&trouble["times"]).0);
    format!("{about}can't {}: {} (for {since}, tried {times} times)", text("task"), text("why"))
}

fn plain(text: impl Into<String>) -> Cell {
    (text.into().into(), Paint::Plain)
}

/// A size as a person says it.
fn size(bytes: &Value) -> Option<String> {
    let bytes = bytes.as_u64()?;
    Some(match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mib @ 1..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    })
}

/// So much is free of so much.
fn room(of: &Value, free: &str) -> Cell {
    match (size(&of[free]), size(&of["total_bytes"])) {
        (Some(free), Some(total)) => plain(format!("{free} of {total} are free")),
        _ => cell(&Value::Null),
    }
}

fn facts(host: &Value, now: Timestamp) -> Vec<Vec<Cell>> {
    let mut rows = vec![
        vec![plain("disk"), room(&host["disk"]["state"], "free_bytes")],
        vec![plain("disk of containers"), room(&host["disk"]["containers"], "free_bytes")],
        vec![plain("memory"), room(&host["memory"], "available_bytes")],
        vec![plain("the agent runs for"), ago(&host["started"], now)],
    ];
    for name in ["os", "kernel", "systemd", "podman", "git", "proxy", "podkeeper"] {
        rows.push(vec![plain(name), cell(&host["versions"][name])]);
    }
    rows
}

fn space(space: &Value) -> Vec<Vec<Cell>> {
    let sized = |bytes: &Value| size(bytes).map_or_else(|| cell(&Value::Null), plain);
    let (images, volumes) = (&space["images"], &space["volumes"]);
    let count = |of: &Value| of["count"].as_u64().map(|count| format!("{count} of them")).unwrap_or_default();
    let mut told = count(images);
    if let (Some(unnamed @ 1..), Some(bytes)) = (images["unnamed"].as_u64(), size(&images["unnamed_bytes"])) {
        told.push_str(&format!("; nothing names {unnamed}, which are {bytes}"));
    }
    let mut rows = vec![
        vec![plain("images"), sized(&images["bytes"]), plain(told)],
        vec![plain("volumes"), sized(&volumes["bytes"]), plain(count(volumes))],
        vec![plain("repositories"), sized(&space["repositories_bytes"])],
        vec![plain("database"), sized(&space["database_bytes"])],
        vec![plain("journal"), sized(&space["journal_bytes"])],
    ];
    let mut caches: Vec<(&String, &Value)> = space["caches"].as_object().into_iter().flatten().collect();
    caches.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.as_u64()));
    for (name, bytes) in caches {
        rows.push(vec![plain(format!("builds of {name}")), sized(bytes)]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_and_troubles_are_told_in_words() {
        for (bytes, text) in [(2048_u64, "2 KiB"), (5 << 20, "5 MiB"), (20 << 30, "20 GiB")] {
            assert_eq!(size(&json!(bytes)).unwrap(), text);
        }
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let trouble = json!({
            "service": "blog", "task": "bring it to what is wanted of it", "why": "no", "since": "2026-01-01T22:00:00Z",
            "times": 7,
        });
        let told = "blog: can't bring it to what is wanted of it: no (for 2h, tried 7 times)";
        assert_eq!(sentence(&trouble, now), told);
    }
}
