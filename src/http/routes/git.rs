//! `/git/{name}.git/…`: smart HTTP, and Git LFS.

use http_types::{Method, StatusCode};
use tide::Response;
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::super::call::Call;
use super::super::respond::Head;
use super::super::stream;
use super::objects;
use super::outcome::told;
use crate::names::ServiceName;
use crate::problem::{Code, Problem};
use crate::services::{GitRequest, Service};

/// The service whose repository the path names.
async fn hosted(call: &Call) -> Result<Service, Problem> {
    let nothing = || {
        Problem::new(Code::NotFound, "there is no repository here")
            .with_hint("a service that is pushed to has its repository at /git/NAME.git")
    };
    let repository = call.param("repository")?;
    let name: ServiceName = repository.strip_suffix(".git").and_then(|name| name.parse().ok()).ok_or_else(nothing)?;
    let service = call.state().services().service(&name).await.map_err(told)?;
    if !service.is_hosted() {
        return Err(nothing());
    }
    Ok(service)
}

/// Takes a file of Git LFS.
pub async fn upload(call: Call) -> Result<Response, Problem> {
    let (service, object) = (hosted(&call).await?, call.param("object")?);
    objects::upload(call, &service.name, &object).await
}

pub async fn answer(mut call: Call) -> Result<Response, Problem> {
    let service = hosted(&call).await?;
    if let Some(path) = call.param("path")?.strip_prefix("info/lfs/") {
        return objects::answer(call, &service.name, path).await;
    }
    let actor = call.actor()?;
    let header = |name| call.header(name).map(str::to_owned);
    let request = GitRequest {
        path: call.param("path")?,
        query: call.request.url().query().unwrap_or_default().to_owned(),
        post: call.request.method() == Method::Post,
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        content_length: header("content-length").and_then(|value| value.parse().ok()),
        protocol: header("git-protocol").filter(|value| value.len() <= 200),
        actor: actor.to_string(),
        service: service.name,
        branch: service.branch,
        body: Box::new(call.request.take_body().into_reader().compat()),
    };
    let lease = call.lease().await?;
    let answer = call.state().services().smart_http(request).await.map_err(told)?;
    let mut response = Response::new(StatusCode::try_from(answer.status).unwrap_or(StatusCode::InternalServerError));
    response.set_body(stream::bytes(answer.body, lease));
    for (name, value) in answer.headers {
        response.set_header(name, value);
    }
    Ok(response)
}
