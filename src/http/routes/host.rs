//! `/host`: how the host is, and what maintenance could not do.

use http_types::StatusCode;
use tide::Response;

use super::super::call::Call;
use super::super::respond;
use crate::api::host::{Disks, Host};
use crate::problem::Problem;

pub async fn show(call: Call) -> Result<Response, Problem> {
    let (deploys, host) = (call.state().deploys(), call.state().host());
    let ((state, containers), memory, versions) = tokio::join!(host.disks(), host.memory(), host.versions());
    let (space, measuring) = host.space();
    let (troubles, more_troubles) = deploys.troubles();
    let answer = Host {
        started: host.started(),
        disk: Disks { state: state.map(Into::into), containers: containers.map(Into::into) },
        memory: memory.map(Into::into),
        limits: call.state().services().limits().map(Into::into),
        versions: versions.into(),
        space: space.map(Into::into),
        measuring,
        troubles: troubles.into_iter().map(Into::into).collect(),
        more_troubles,
    };
    respond::json(StatusCode::Ok, &answer)
}
