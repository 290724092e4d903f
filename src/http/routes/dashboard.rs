//! `/` and `/assets/…`: the dashboard's files.

use http_types::StatusCode;
use tide::Response;

use super::super::call::Call;
use super::super::respond::Head;
use crate::dashboard::{self, Asset};
use crate::problem::{Code, Problem};

pub async fn page(call: Call) -> Result<Response, Problem> {
    file(&call, "index.html")
}

pub async fn asset(call: Call) -> Result<Response, Problem> {
    let name = call.param("file")?;
    file(&call, &name)
}

fn file(call: &Call, name: &str) -> Result<Response, Problem> {
    let asset = dashboard::asset(name).ok_or_else(|| Problem::new(Code::NotFound, "there is nothing here"))?;
    let (Asset { content_type, bytes, .. }, etag) = (asset, asset.etag());
    let known = call.header("if-none-match").is_some_and(|all| all.split(',').any(|one| one.trim() == etag));
    let mut response = Response::new(if known { StatusCode::NotModified } else { StatusCode::Ok });
    if !known {
        response.set_body(*bytes);
        response.set_header("content-type", *content_type);
    }
    response.set_header("etag", etag);
    // Kept, and asked for each time: a new agent's page is there at once.
    response.set_header("cache-control", "no-cache");
    response.set_header("content-security-policy", dashboard::POLICY);
    Ok(response)
}
