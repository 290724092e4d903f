//! What no route answers: 404, 405 with `Allow`, and OPTIONS.

use tide::Response;

use super::respond::{self, Head};
use super::route::Table;
use super::state::State;
use crate::problem::{Code, Problem};

/// Says what tide leaves empty: 404, 405 with `Allow`, and OPTIONS.
#[derive(Debug)]
pub(super) struct Unmatched;

#[async_trait::async_trait]
impl tide::Middleware<State> for Unmatched {
    async fn handle(&self, request: tide::Request<State>, next: tide::Next<'_, State>) -> tide::Result {
        let path = request.url().path().to_owned();
        let table = request.state().table();
        let options = request.method() == http_types::Method::Options;
        let response = next.run(request).await;
        // Our own answers have a request id already.
        if response.header("x-request-id").is_some() {
            return Ok(response);
        }
        let allow = table.methods(&path).join(", ");
        if allow.is_empty() {
            return Ok(respond::problem(&Problem::new(Code::NotFound, "there is nothing here")));
        }
        if !options {
            return Ok(not_allowed(table, &path));
        }
        let mut response = Response::new(http_types::StatusCode::NoContent);
        response.set_header("x-request-id", respond::request_id());
        response.set_header("allow", allow);
        Ok(response)
    }
}

/// 405, with the methods that the path takes.
pub(super) fn not_allowed(table: Table, path: &str) -> Response {
    let allow = table.methods(path).join(", ");
    let mut response = respond::problem(&Problem::new(Code::MethodNotAllowed, format!("this path takes {allow}")));
    response.set_header("allow", allow);
    response
}
