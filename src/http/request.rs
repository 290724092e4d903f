//! What a request says of itself.

use super::state::State;
use crate::auth::Presented;
use crate::connection::Connection;
use crate::names::{NameError, ServiceName};
use crate::problem::{Code, Problem, chain};

/// What the server read from the request's head.
pub fn presented(request: &tide::Request<State>) -> Result<&Presented, Problem> {
    request
        .ext::<http::Extensions>()
        .and_then(|extensions| extensions.get())
        .ok_or_else(|| Problem::new(Code::Internal, "the request came by an unknown way"))
}

/// The connection that carries it.
pub fn connection(request: &tide::Request<State>) -> Option<&Connection> {
    request.ext::<http::Extensions>()?.get()
}

/// A part of the path, decoded.
pub fn param(request: &tide::Request<State>, name: &str) -> Result<String, Problem> {
    let raw = request.param(name).map_err(|_| Problem::new(Code::NotFound, "there is nothing here"))?;
    let text = percent_encoding::percent_decode_str(raw).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| Problem::new(Code::BadRequest, "the path is not UTF-8"))
}

/// Whether git asks for what a push is made of.
pub fn pushes(request: &tide::Request<State>) -> Result<bool, Problem> {
    const PUSH: &str = "git-receive-pack";
    // A file of Git LFS is a part of a push.
    if request.method() == http_types::Method::Put {
        return Ok(true);
    }
    let query = request.url().query().unwrap_or_default().as_bytes();
    Ok(param(request, "path")? == PUSH || form_urlencoded::parse(query).any(|(_, value)| value == PUSH))
}

/// The service that a request concerns; none where it is the host.
pub async fn concerned(request: &tide::Request<State>, path: &str) -> Result<Option<ServiceName>, Problem> {
    let refused = |error: NameError| error.problem();
    if path.starts_with("/services/:name") {
        return param(request, "name")?.parse().map(Some).map_err(refused);
    }
    if path.starts_with("/git/:repository") {
        let repository = param(request, "repository")?;
        return repository.trim_end_matches(".git").parse().map(Some).map_err(refused);
    }
    if path.starts_with("/deployments/:id") {
        let id = param(request, "id")?.parse();
        let id = id.map_err(|error: NameError| Problem::new(Code::BadRequest, error.to_string()))?;
        // One that isn't there and another service's are the same to whoever may see neither.
        return request.state().deploys().service_of(id).await.map_err(|error| {
            tracing::error!("can't look a deployment up: {}", chain(&error));
            error.problem()
        });
    }
    Ok(None)
}
