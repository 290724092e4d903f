//! Whether the agent lives, and whether it has what it needs.

use http_types::StatusCode;
use serde_json::json;
use tide::Response;

use super::super::call::Call;
use super::super::respond;
use crate::api::health::{Part, Parts, Ready};
use crate::problem::{Code, Problem};

pub async fn alive(_: Call) -> Result<Response, Problem> {
    respond::json(StatusCode::Ok, &json!({ "status": "alive" }))
}

/// Whether each part of the host answers; where one doesn't, a problem that says of each how it is.
pub async fn ready(call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    let [podman, systemd, journal, store] = call.state().host().parts().await;
    let part = |(_, problem): (&str, Option<Problem>)| Part(problem.map(|problem| problem.code));
    let parts = Parts { podman: part(podman), systemd: part(systemd), journal: part(journal), store: part(store) };
    let away = parts.away();
    if away.is_empty() {
        return respond::json(StatusCode::Ok, &Ready { ready: true, detail: "ready".into(), parts });
    }
    let problem = Problem::new(Code::NotReady, format!("not ready: no answer from {}", away.join(", ")))
        .with_hint("`podkeeper doctor` on the host tells what is wrong");
    Ok(respond::problem_with(&problem, json!({ "ready": false, "parts": parts })))
}
