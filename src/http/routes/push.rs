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
use crate::services::{PushId, Services, spec};
use crate::text::PlainLines;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    /// Who pushed, as git's backend was told.
    actor: String,
    /// What moved.
    refs: Vec<Moved>,
    /// How many more did.
    #[serde(default)]
    others: u64,
    /// The push, and whether it waits for its deployment, and ends as that does.
    push: Option<PushId>,
    #[serde(default)]
    wait: bool,
    /// Whoever pushed wants nothing to be built.
    #[serde(default)]
    skip: bool,
}

/// A push that waits for its deployment, if it does: it fails unless it is told otherwise.
#[derive(Debug, Clone)]
struct Waiting {
    services: Services,
    push: Option<PushId>,
}

impl Waiting {
    fn set(&self, fails: bool) {
        if let Some(push) = self.push {
            self.services.end_push(push, fails);
        }
    }
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
    let Push { actor, refs, others, push, wait, skip } = extract::fields(&mut call.request, Rules::default()).await?;
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
    let waiting = Waiting { services: call.state().services().clone(), push: push.filter(|_| wait) };
    waiting.set(true);
    let mut response = told_to_the_pusher(&call, &name, (&moved, others), skip, actor, waiting).await?;
    response.insert_ext(note);
    Ok(response)
}

async fn told_to_the_pusher(
    call: &Call,
    name: &ServiceName,
    (moved, more): (&[(String, Option<CommitId>)], u64),
    skips: bool,
    actor: Actor,
    waiting: Waiting,
) -> Result<Response, Problem> {
    let by = By::Actor(actor.clone());
    let deploys = call.state().deploys();
    let adopted = deploys.adopt_branch(name).await.map_err(told)?;
    let first = adopted.map(|branch| format!("`{branch}` is the branch of `{name}` from this push on."));
    let pushed =
        if skips { deploys.pushed_unbuilt(name, moved).await } else { deploys.pushed(name, moved, actor).await };
    let pushed = pushed.map_err(told)?;
    // Of all that has moved one may be the service's branch.
    let own = u64::from(!matches!(pushed, Pushed::Kept(_)));
    let others = (moved.len() as u64).saturating_add(more) - own;
    let only = |text: String| {
        // There was nothing to wait for.
        waiting.set(matches!(pushed, Pushed::Passed));
        let mut response = Response::new(StatusCode::Ok);
        let lines: Vec<String> = first.iter().cloned().chain((own > 0).then(|| kept(others)).flatten()).collect();
        response.set_body(format!("{}\n", PlainLines::from([lines.as_slice(), &[text]].concat().join("\n"))));
        Ok(response)
    };
    match &pushed {
        Pushed::Kept(branch) => only(format!(
            "Kept. Only a push to `{branch}` is deployed.\nNext: `git push REMOTE HEAD:{branch}`, or `podkeeper settings \
             {name} branch=BRANCH` to deploy another one."
        )),
        Pushed::Passed => only("Kept. A newer push has moved the branch on.".into()),
        Pushed::Gone(branch) => only(format!("The branch `{branch}` is gone; what runs goes on.")),
        Pushed::Skipped(mark) => {
            let why = mark.map_or_else(|| "as you wished".into(), |mark| format!("since its message has `{mark}`"));
            only(format!("Kept, and not built, {why}.\nNext: `podkeeper deploy {name}` builds it all the same."))
        }
        Pushed::Deployed(deployment) => {
            let (id, part) = (deployment.id, LogPart { by, ..LogPart::default() });
            let lines = deploys.log(id, part).await.map_err(told)?;
            let begin = stream::iter(first.into_iter().chain(kept(others)).map(said).collect::<Vec<_>>());
            let end = stream::once(end(call.state().clone(), id, waiting)).flat_map(stream::iter);
            let lease = call.lease().await?;
            let lines = begin.chain(lines).chain(end);
            let name = name.clone();
            Ok(streams::text_until(lines, lease, |entry| entry.coloured(), move |problem| cut_off(&name, &problem)))
        }
    }
}

/// What is said of what has moved beside the service's branch.
fn kept(others: u64) -> Option<String> {
    match others {
        0 => None,
        1 => Some("Kept 1 other branch or tag.".into()),
        others => Some(format!("Kept {others} other branches and tags.")),
    }
}

/// What the person who pushes reads where the lines end before the deployment does.
fn cut_off(name: &ServiceName, problem: &Problem) -> String {
    let why = match problem.code {
        Code::NotFound => return problem.detail.to_string(),
        Code::Restarting => "The agent restarts.".into(),
        _ => problem.detail.to_string(),
    };
    format!("{why} Your push is kept and goes on: podkeeper deployments {name}")
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
async fn end(state: State, id: DeploymentId, waiting: Waiting) -> Vec<LogLine> {
    let deploys = state.deploys();
    let Ok(deployment) = deploys.deployment(id).await else { return Vec::new() };
    let is_kept = deployment.problem.as_ref().is_some_and(|problem| problem.code == Code::Unchanged);
    waiting.set(deployment.state != DeploymentState::Live && !is_kept);
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
            let goes_on = if deploys.goes_on(&deployment.service).await { "; what ran before goes on" } else { "" };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_pushes_reads_how_it_goes_on_where_the_lines_end_too_soon() {
        let blog: ServiceName = "blog".parse().unwrap();
        let told = |code| cut_off(&blog, &Problem::new(code, "so"));
        let goes_on = "Your push is kept and goes on: podkeeper deployments blog";
        assert_eq!(told(Code::Restarting), format!("The agent restarts. {goes_on}"));
        assert_eq!(told(Code::NotSignedIn), format!("So. {goes_on}"));
        assert_eq!(told(Code::NotFound), "So.");
    }
}
