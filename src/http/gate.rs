//! What every request passes, whoever answers it: its head says one thing, and its body has its time.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::Service;

use super::body::{Late, Pace, RequestBody, Timed, late};
use super::bridge::{AnswerBody, document};
use crate::problem::{Code, Problem};

/// Lets `service` answer `request`, but where nothing may, and says what it has no words for itself.
pub(super) async fn pass<S, B>(
    service: S,
    request: Request<Incoming>,
    pace: Pace,
) -> Result<Response<Either<B, AnswerBody>>, Infallible>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<Problem>,
    B: Body<Data = Bytes>,
{
    let body = Late::default();
    let answered = match one_host(&request) {
        Ok(()) => {
            let request = request.map(|incoming| Timed::new(incoming, pace, body.clone()));
            service.call(request).await.map_err(Into::into)
        }
        Err(problem) => Err(problem),
    };
    let mut answer = match answered {
        // Whatever was made of a body that never came: that is what the client did.
        _ if body.is_so() => document(&late()).await.map(Either::Right),
        Ok(answer) => answer.map(Either::Left),
        Err(problem) => document(&problem).await.map(Either::Right),
    };
    if answer.status() == StatusCode::REQUEST_TIMEOUT {
        // What still comes of the body is no request.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

/// Whom a request is for it says once (RFC 9112, section 3.2): with two hosts, a proxy before the agent and the agent could
/// each take another.
fn one_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let bad = |detail: &str| Err(Problem::new(Code::BadRequest, detail));
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next(), request.uri().authority()) {
        (_, Some(_), _) => bad("there are two Host headers"),
        (None, None, _) if request.version() == Version::HTTP_11 => bad("the Host header is missing"),
        (Some(host), None, Some(authority)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            bad("the Host header is not the address's host")
        }
        _ => Ok(()),
    }
}
