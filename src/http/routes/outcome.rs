//! What several handlers answer with.

use std::ops::RangeInclusive;
use std::time::Duration;

use http_types::StatusCode;
use tide::Response;

use super::super::call::Call;
use super::super::respond::{self, Head};
use crate::api;
use crate::api::page::Page;
use crate::deploys::Deployment;
use crate::problem::{Code, Problem, chain};
use crate::services::ServiceError;

/// The longest that `Prefer: wait` waits.
const WAIT: u64 = 600;

/// What a client is told; what is our own or the host's fault is written down with its causes.
pub fn told(error: impl Into<ServiceError>) -> Problem {
    let error = error.into();
    let problem = error.problem();
    if u16::from(respond::status(problem.code)) >= 500 {
        tracing::error!(problem = problem.code.as_str(), "{}", chain(&error));
    }
    problem
}

/// 202 with the deployment; with `Prefer: wait=SECONDS` (RFC 7240, section 4.3) once it has ended, or they are over.
pub async fn accepted(call: &Call, deployment: Deployment) -> Result<Response, Problem> {
    let wait = call.header("prefer").and_then(|header| {
        let preference = header.split(',').find_map(|preference| preference.trim().strip_prefix("wait="))?;
        preference.trim().trim_matches('"').parse::<u64>().ok()
    });
    let id = deployment.id;
    let deployment = match wait {
        Some(seconds) => {
            let limit = Duration::from_secs(seconds.min(WAIT));
            let waited = call.gone.run_until_cancelled(call.state().deploys().wait(id, limit)).await;
            // Nobody reads the answer.
            waited.unwrap_or(Ok(deployment)).map_err(told)?
        }
        None => deployment,
    };
    let mut response = respond::json(StatusCode::Accepted, &shown(call, deployment))?;
    response.set_header("location", format!("/deployments/{id}"));
    if let Some(seconds) = wait {
        response.set_header("preference-applied", format!("wait={}", seconds.min(WAIT)));
    }
    Ok(response)
}

/// A deployment as it is shown.
pub fn shown(call: &Call, deployment: Deployment) -> api::deployments::Deployment {
    let waits_for = call.state().deploys().waits_for(&deployment);
    api::deployments::Deployment::new(deployment, waits_for)
}

/// A number between two bounds.
pub fn within(value: Option<u64>, name: &str, bounds: RangeInclusive<u64>, usual: u64) -> Result<u64, Problem> {
    match value {
        None => Ok(usual),
        Some(value) if bounds.contains(&value) => Ok(value),
        Some(_) => {
            let (least, most) = bounds.into_inner();
            Err(Problem::new(Code::BadRequest, format!("`{name}` must be from {least} to {most}")))
        }
    }
}

/// How many of a list the page has that is asked for.
pub fn limit<const MOST: u64, const USUAL: u64>(page: &Page<MOST, USUAL>) -> Result<u64, Problem> {
    within(page.limit, "limit", 1..=MOST, USUAL)
}
