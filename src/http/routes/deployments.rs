//! `/deployments`, and `/services/{name}/deployments` and `/releases`.

use http_types::StatusCode;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::{respond, stream};
use super::outcome::{limit, shown, told};
use crate::api::deployments::{Deployments, DeploymentsPage, Release, Releases};
use crate::names::{DeploymentId, NameError};
use crate::problem::{Code, Problem};
use crate::services::log::{By, LogPart};

fn number(text: &str) -> Result<DeploymentId, Problem> {
    text.parse().map_err(|error: NameError| Problem::new(Code::BadRequest, error.to_string()))
}

pub async fn list(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let page: DeploymentsPage = extract::fields(&mut call.request, Rules::default()).await?;
    let limit = u32::try_from(limit(&page)?).unwrap_or(u32::MAX);
    let before = page.cursor.as_deref().map(number).transpose()?;
    let page = call.state().deploys().of(&name, before, limit).await.map_err(told)?;
    let deployments = page.deployments.into_iter().map(|row| shown(&call, row)).collect();
    respond::json(StatusCode::Ok, &Deployments { deployments, cursor: page.next.map(|id| id.to_string()) })
}

pub async fn releases(call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let kept = call.state().deploys().releases(&name).await.map_err(told)?;
    let releases = kept.releases.into_iter().map(Release::from).collect();
    respond::json(StatusCode::Ok, &Releases { releases, current: kept.current, before: kept.before })
}

pub async fn show(call: Call) -> Result<Response, Problem> {
    let id = number(&call.param("id")?)?;
    let deployment = call.state().deploys().deployment(id).await.map_err(told)?;
    respond::json(StatusCode::Ok, &shown(&call, deployment))
}

pub async fn cancel(call: Call) -> Result<Response, Problem> {
    let id = number(&call.param("id")?)?;
    let deployment = call.state().deploys().cancel(id).await.map_err(told)?;
    respond::json(StatusCode::Ok, &shown(&call, deployment))
}

/// Its whole story; it follows while the deployment goes on. `text/event-stream` where that is accepted, else text.
pub async fn log(call: Call) -> Result<Response, Problem> {
    let id = number(&call.param("id")?)?;
    let by = By::Actor(call.actor()?);
    let part = LogPart { by, cursor: call.header("last-event-id").map(str::to_owned), ..LogPart::default() };
    let lines = call.state().deploys().log(id, part).await.map_err(told)?;
    let lease = call.lease().await?;
    if call.header("accept").is_some_and(|accept| accept.contains("text/event-stream")) {
        return Ok(stream::events(lines, lease));
    }
    Ok(stream::text(lines, lease, |entry| entry.coloured()))
}
