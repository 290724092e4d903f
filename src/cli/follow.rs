//! A deployment that was asked for: how it goes, as it happens.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use thiserror::Error;

use super::client::{Agent, Answer, ClientError};
use super::options::Outcome;
use super::{events, show};
use crate::api::deployments::Deployment;
use crate::problem::Code;
use crate::store::DeploymentState;
use crate::text::Plain;

/// How often in a row the agent may be away while something is followed, a second each.
pub(super) const TRIES: u32 = 60;

/// Whether a deployment is followed to its end.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Waiting {
    /// Don't wait for its end
    #[arg(long)]
    no_wait: bool,
}

/// Prints a deployment's story as it happens, and ends as the deployment ends.
pub async fn follow(agent: &Agent, answer: &Answer, waiting: Waiting, json: bool) -> Outcome {
    let Deployment { id, waits_for, .. } = answer.read()?;
    if waiting.no_wait {
        if json {
            answer.print()?;
        } else {
            let why = waits_for.map(|waits_for| format!(", and {waits_for}")).unwrap_or_default();
            writeln!(show::out(), "deployment {id} is queued{why}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (mut cursor, mut last, mut tries): (Option<String>, String, u32) = (None, String::new(), 0);
    let (ended, answer) = loop {
        // The agent may be restarted in the middle, and the deployment goes on.
        if let Ok(story) = agent.events(&format!("/deployments/{id}/log"), cursor.as_deref()).await {
            let take = |_: &str, entry: crate::api::logs::LogEntry| {
                cursor = Some(entry.cursor);
                if json {
                    return Ok(());
                }
                last = entry.message;
                writeln!(show::out(), "{last}")
            };
            match events::each(story, take).await {
                Err(error) if !error.is::<ClientError>() => return Err(error),
                _ => {}
            }
        }
        match agent.get(&format!("/deployments/{id}")).await {
            Ok(answer) => {
                let now: Deployment = answer.read()?;
                if now.state.is_final() {
                    break (now, answer);
                }
                tries = 0;
            }
            Err(error) if error.is_away() && tries < TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    if json {
        answer.print()?;
    }
    if ended.state == DeploymentState::Live {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Ended::new(&ended, &last).into())
}

/// A deployment that has ended and is not live.
#[derive(Debug, Error)]
#[error("{told}")]
pub(super) struct Ended {
    told: String,
    code: Option<Code>,
}

impl Ended {
    fn new(ended: &Deployment, last: &str) -> Self {
        let code = match ended.state {
            DeploymentState::Cancelled => Some(Code::Cancelled),
            DeploymentState::Superseded => Some(Code::Superseded),
            _ => ended.problem.as_ref().map(|problem| problem.code),
        };
        Self { told: ending(ended, last), code }
    }

    /// Why, where that has a code.
    pub(super) fn code(&self) -> Option<Code> {
        self.code
    }
}

/// How a deployment ended that is not live: what `last`, the last line of its story, has not told yet.
fn ending(ended: &Deployment, last: &str) -> String {
    let id = ended.id;
    let mut told = match ended.state {
        DeploymentState::Failed => format!("deployment {id} failed"),
        DeploymentState::Cancelled => return format!("deployment {id} was cancelled"),
        _ => return format!("a newer deployment took the place of {id}"),
    };
    let problem = ended.problem.as_ref();
    if let Some(problem) = problem.filter(|problem| !last.contains(&problem.detail)) {
        told.push_str(&format!(": {}", Plain::from(&problem.detail)));
    }
    // What a build prints is a part of the story, and what the program prints is not.
    if let Some(tail) = ended.tail.as_ref().filter(|_| ended.steps.contains_key(&DeploymentState::Starting)) {
        told.push_str("\nThe last lines of the program:");
        tail.lines().for_each(|line| told.push_str(&format!("\n  | {}", Plain::from(line))));
    }
    if let Some(hint) = problem.and_then(|problem| problem.hint.as_ref()) {
        told.push_str(&format!("\nNext: {}", Plain::from(hint)));
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reason_is_told_once_and_with_what_the_program_said() {
        let problem = json!({ "code": "start-failed", "detail": "The program ended.", "hint": "look" });
        let ended = json!({
            "id": 7, "service": "blog", "cause": "push", "actor": "token:me", "state": "failed", "problem": problem,
            "tail": "\u{1b}]0;boom", "steps": {},
        });
        let mut ended: Deployment = serde_json::from_value(ended).unwrap();
        assert_eq!(
            ending(&ended, "failed: The program ended. What ran before goes on."),
            "deployment 7 failed\nNext: look"
        );
        assert_eq!(ending(&ended, ""), "deployment 7 failed: The program ended.\nNext: look");
        ended.steps.insert(DeploymentState::Starting, "2026-01-01T00:00:00Z".parse().unwrap());
        let told = ending(&ended, "failed: The program ended.");
        assert_eq!(told, "deployment 7 failed\nThe last lines of the program:\n  | \\x1b]0;boom\nNext: look");
        ended.state = DeploymentState::Cancelled;
        assert_eq!(ending(&ended, ""), "deployment 7 was cancelled");
    }
}
