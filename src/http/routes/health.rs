//! Whether the agent lives, and whether it has what it needs.

use http_types::StatusCode;
use serde_json::json;
use tide::Response;

use super::super::call::Call;
use super::super::respond;
use super::super::respond::Head;
use crate::problem::Problem;

pub async fn alive(_: Call) -> Result<Response, Problem> {
    respond::json(StatusCode::Ok, &json!({ "status": "alive" }))
}

/// Each part by name: `ok`, or the code of what is wrong with it.
pub async fn ready(call: Call) -> Result<Response, Problem> {
    call.count_open_call()?;
    let checks = call.state().host().parts().await;
    let away: Vec<_> = checks.iter().filter(|(_, problem)| problem.is_some()).map(|(name, _)| *name).collect();
    let ready = away.is_empty();
    let detail = if ready { "ready".to_owned() } else { format!("not ready: no answer from {}", away.join(", ")) };
    let all: serde_json::Map<_, _> = checks
        .into_iter()
        .map(|(name, problem)| (name.to_owned(), json!(problem.map_or("ok", |problem| problem.code.as_str()))))
        .collect();
    let status = if ready { StatusCode::Ok } else { StatusCode::ServiceUnavailable };
    let mut response = respond::json(status, &json!({ "ready": ready, "detail": detail, "parts": all }))?;
    if !ready {
        response.set_header("retry-after", "5");
    }
    Ok(response)
}
