//! Whether the agent lives, and whether it has what it needs.

use http_types::StatusCode;
use serde_json::json;
use tide::Response;

use super::super::{Call, respond};
use crate::api::health::{Part, Parts, Ready};
use crate::journal::{Query, Select};
use crate::names::DeploymentId;
use crate::problem::{Code, Problem};

pub async fn alive(_: Call) -> Result<Response, Problem> {
    respond::json(StatusCode::Ok, &json!({ "status": "alive" }))
}

/// Whether each part of the host answers; where one doesn't, a problem that says of each how it is.
pub async fn ready(call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    let parts = call.state().parts();
    let journal = Query { lines: 1, ..Query::newest(Select::Build(DeploymentId(1))) };
    let (podman, systemd, journal, store) =
        tokio::join!(parts.podman.version(), parts.units.version(), parts.journal.query(journal), parts.store.ready());
    let code = |problem: Option<Problem>| Part(problem.map(|problem| problem.code));
    let parts = Parts {
        podman: code(podman.err().map(|error| error.problem())),
        systemd: code(systemd.err().map(|error| error.problem())),
        journal: code(journal.err().map(|error| error.problem())),
        store: code(store.err().map(|error| error.problem())),
    };
    let away = parts.away();
    if away.is_empty() {
        return respond::json(StatusCode::Ok, &Ready { ready: true, detail: "ready".into(), parts });
    }
    let problem = Problem::new(Code::NotReady, format!("not ready: no answer from {}", away.join(", ")))
        .with_hint("`podkeeper doctor` on the host tells what is wrong");
    Ok(respond::problem_with(&problem, json!({ "ready": false, "parts": parts })))
}
