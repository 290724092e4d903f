//! `/internal/push/{name}`: git's hook tells what a push has moved, and reads to the person who pushes what becomes of
//! it.

use futures_util::{StreamExt, stream};
use http_types::StatusCode;
use serde::Deserialize;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::route::Note;
use super::super::state::State;
use super::super::stream as streams;
use super::outcome::told;
use crate::deploys::{DeploymentState, Pushed};
use crate::names::{Actor, CommitId, DeploymentId, ServiceName};
use crate::problem::{Code, Problem};
use crate::services::log::{By, Entry, LogLine, LogPart};
use crate::services::spec;
use crate::text::PlainLines;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    /// Who pushed, as git's backend was told.
    actor: String,
    /// What moved.
    refs: Vec<Moved>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    #[serde(rename = "ref")]
    name: String,
    new: String,
    #[serde(rename = "old")]
    _old: String,
}

pub async fn pushed(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let Push { actor, refs } = extract::fields(&mut call.request, Rules::default()).await?;
    let own = nix::unistd::Uid::current().as_raw();
    let actor = match call.actor()? {
        // Only our own hook may say in whose name it speaks.
        Actor::Local(uid) if uid == own => actor.parse().unwrap_or(Actor::Local(uid)),
        actor => actor,
    };
    let moved: Vec<_> = refs.into_iter().map(|moved| (moved.name, commit(&moved.new))).collect();
    // Git's request had the client's address; this one knows what was pushed.
    let what = moved.iter().map(|(name, commit)| match commit {
        Some(commit) => format!("{name} {commit}"),
        None => format!("{name} deleted"),
    });
    let note = Note { actor: Some(actor.clone()), detail: Some(what.collect::<Vec<_>>().join(", ")) };
    let mut response = told_to_the_pusher(&call, &name, &moved, actor).await?;
    response.insert_ext(note);
    Ok(response)
}

async fn told_to_the_pusher(
    call: &Call,
    name: &ServiceName,
    moved: &[(String, Option<CommitId>)],
    actor: Actor,
) -> Result<Response, Problem> {
    let by = By::Actor(actor.clone());
    match call.state().deploys().pushed(name, moved, actor).await.map_err(told)? {
        Pushed::Kept(branch) => Ok(only(format!("Kept. Only a push to `{branch}` is deployed."))),
        Pushed::Passed => Ok(only("Kept. A newer push has moved the branch on.".into())),
        Pushed::Gone(branch) => Ok(only(format!("The branch `{branch}` is gone; what runs goes on."))),
        Pushed::Deployed(deployment) => {
            let part = LogPart { by, ..LogPart::default() };
            let lines = call.state().deploys().log(deployment.id, part).await.map_err(told)?;
            let end = stream::once(end(call.state().clone(), deployment.id)).flat_map(stream::iter);
            let lease = call.lease().await?;
            Ok(streams::text(lines.chain(end), lease, |entry| entry.coloured()))
        }
    }
}

fn only(text: String) -> Response {
    let mut response = Response::new(StatusCode::Ok);
    response.set_body(format!("{}\n", PlainLines::from(text)));
    response
}

/// All zeros: the ref is gone.
fn commit(text: &str) -> Option<CommitId> {
    text.parse().ok().filter(|_| text.bytes().any(|byte| byte != b'0'))
}

fn said(message: String) -> LogLine {
    Ok(Entry {
        cursor: String::new(),
        time: 0,
        priority: 6,
        unit: None,
        identifier: None,
        pid: None,
        message: message.into_bytes(),
    })
}

/// What the person who pushes reads at last.
async fn end(state: State, id: DeploymentId) -> Vec<LogLine> {
    let deploys = state.deploys();
    let Ok(deployment) = deploys.deployment(id).await else { return Vec::new() };
    let mut lines = vec![said(String::new())];
    match (deployment.state, deployment.problem) {
        (DeploymentState::Live, _) => {
            let service = state.services().service(&deployment.service).await.ok();
            let url = service.and_then(|service| spec::url(&service, &state.config()));
            lines.push(said(url.map_or_else(|| "  Live.".to_owned(), |url| format!("  Live: {url}"))));
        }
        (DeploymentState::Failed, Some(problem)) => {
            // What a build prints was read already, and what the program prints was not.
            let has_started = deployment.steps.iter().any(|(state, _)| *state == DeploymentState::Starting);
            if let Some(tail) = deployment.tail.filter(|_| has_started) {
                lines.extend(tail.lines().map(|line| said(format!("  | {line}"))));
            }
            lines.push(said(format!("  Failed ({}): {}", problem.code.as_str(), problem.detail)));
            lines.extend(problem.hint.map(|hint| said(format!("  Next: {hint}"))));
            let goes_on = if deploys.ran_before(&deployment.service).await { "; what ran before goes on" } else { "" };
            lines.push(said(format!("  Your push is kept{goes_on}.")));
        }
        (DeploymentState::Cancelled, Some(problem)) if problem.code == Code::Unchanged => {
            lines.push(said(format!("  Kept. {}", problem.detail)));
            lines.extend(problem.hint.map(|hint| said(format!("  Next: {hint}"))));
        }
        (DeploymentState::Superseded, _) => lines.push(said("  A newer push took its place.".into())),
        (state, _) => lines.push(said(format!("  The deployment is {}.", state.as_str()))),
    }
    lines.push(said(String::new()));
    lines
}
