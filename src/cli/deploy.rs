//! `deploy`, `restart` and `rollback`: what is deployed, and how it goes.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::client::{Agent, ClientError, segment};
use super::services::TRIES;
use super::{Outcome, events, show};
use crate::text::Plain;

/// Whether a deployment is followed to its end.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Waiting {
    /// Don't wait for its end
    #[arg(long)]
    no_wait: bool,
}

/// Prints a deployment's story as it happens, and ends as the deployment ends.
pub async fn follow(agent: &Agent, deployment: &Value, waiting: Waiting, json: bool) -> Outcome {
    let id = &deployment["id"];
    if waiting.no_wait {
        let text = if json { deployment.to_string() } else { format!("deployment {id} is queued") };
        writeln!(show::out(), "{text}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut cursor, mut last, mut tries): (Option<String>, String, u32) = (None, String::new(), 0);
    let ended = loop {
        // The agent may be restarted in the middle, and the deployment goes on.
        if let Ok(story) = agent.events(&format!("/deployments/{id}/log"), cursor.as_deref()).await {
            let take = |entry: &Value| {
                cursor = entry["cursor"].as_str().map(str::to_owned);
                if json {
                    return Ok(());
                }
                last = entry["message"].as_str().unwrap_or_default().to_owned();
                writeln!(show::out(), "{last}")
            };
            match events::each(story, take).await {
                Err(error) if !error.is::<ClientError>() => return Err(error),
                _ => {}
            }
        }
        let now = agent.call(Method::GET, &format!("/deployments/{id}"), None).await;
        match now {
            Ok(now) if matches!(now["state"].as_str(), Some("live" | "failed" | "cancelled" | "superseded")) => {
                break now;
            }
            Ok(_) => tries = 0,
            Err(error) if error.is_away() && tries < TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    if json {
        writeln!(show::out(), "{ended}")?;
    }
    let state = ended["state"].as_str().unwrap_or_default();
    if state == "live" {
        return Ok(ExitCode::SUCCESS);
    }
    Err(ending(&ended, &last).into())
}

/// How a deployment ended that is not live: what `last`, the last line of its story, has not told yet.
fn ending(ended: &Value, last: &str) -> String {
    let id = &ended["id"];
    let mut told = match ended["state"].as_str() {
        Some("failed") => format!("deployment {id} failed"),
        Some("cancelled") => return format!("deployment {id} was cancelled"),
        _ => return format!("a newer deployment took the place of {id}"),
    };
    let problem = &ended["problem"];
    if let Some(detail) = problem["detail"].as_str().filter(|detail| !last.contains(detail)) {
        told.push_str(&format!(": {}", Plain::from(detail)));
    }
    // What a build prints is a part of the story, and what the program prints is not.
    if let Some(tail) = ended["tail"].as_str().filter(|_| !ended["steps"]["starting"].is_null()) {
        told.push_str("\nThe last lines of the program:");
        tail.lines().for_each(|line| told.push_str(&format!("\n  | {}", Plain::from(line))));
    }
    if let Some(hint) = problem["hint"].as_str() {
        told.push_str(&format!("\nnext: {}", Plain::from(hint)));
    }
    told
}

/// `podkeeper deploy`
pub async fn deploy(agent: &Agent, name: &str, quick: bool, waiting: Waiting, json: bool) -> Outcome {
    let (verb, body) = if quick { ("restart", json!({ "quick": true })) } else { ("start", json!({})) };
    let deployment = agent.call(Method::POST, &format!("/services/{}/{verb}", segment(name)), Some(&body)).await?;
    follow(agent, &deployment, waiting, json).await
}

/// `podkeeper rollback`
pub async fn rollback(agent: &Agent, name: &str, release: Option<u32>, waiting: Waiting, json: bool) -> Outcome {
    let body = release.map_or_else(|| json!({}), |release| json!({ "release": release }));
    let path = format!("/services/{}/rollback", segment(name));
    let deployment = agent.call(Method::POST, &path, Some(&body)).await?;
    follow(agent, &deployment, waiting, json).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_and_with_what_the_program_said() {
        let problem = json!({ "code": "start-failed", "detail": "the program ended", "hint": "look" });
        let mut ended = json!({ "id": 7, "state": "failed", "problem": problem, "tail": "\u{1b}]0;boom", "steps": {} });
        assert_eq!(
            ending(&ended, "failed: the program ended; what ran before goes on"),
            "deployment 7 failed\nnext: look"
        );
        assert_eq!(ending(&ended, ""), "deployment 7 failed: the program ended\nnext: look");
        ended["steps"]["starting"] = json!("2026-01-01T00:00:00Z");
        let told = ending(&ended, "failed: the program ended");
        assert_eq!(told, "deployment 7 failed\nThe last lines of the program:\n  | ]0;boom\nnext: look");
        ended["state"] = json!("cancelled");
        assert_eq!(ending(&ended, ""), "deployment 7 was cancelled");
    }
}
