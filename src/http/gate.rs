//! What every request passes, whoever answers it: its head says one thing, and its body has its time.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::Service;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::body::{Late, Pace, Timed, late};
use super::bridge::{AnswerBody, document};
use super::linger::{Lingering, RequestBody, lingering};
use crate::problem::{Code, Problem};

/// The longest head that is free: the number of connections bounds how many there are.
const SHORT: usize = 4 * 1024;
/// How many KiB of longer heads are held at once, until their requests are answered. A head is copied a few times.
const HEADS: usize = 1024;

/// What all requests pass. A clone is another handle on the same one.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    heads: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { heads: Arc::new(Semaphore::new(HEADS)) }
    }
}

impl Gate {
    /// Room for a head until it is dropped.
    fn room<B>(&self, request: &Request<B>) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let address = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
        let length = headers + address;
        if length <= SHORT {
            return Ok(None);
        }
        let permits = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = self.heads.try_acquire_many(permits).map(Some);
        room.map_err(|_| Problem::new(Code::Busy, "too many requests with long heads at once"))
    }
}

/// Lets `service` answer `request`, but where nothing may, and says what it has no words for itself.
pub(super) async fn pass<S, B>(
    gate: Gate,
    service: S,
    request: Request<Incoming>,
    pace: Pace,
) -> Result<Response<Lingering<Either<B, AnswerBody>>>, Infallible>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<Problem>,
    B: Body<Data = Bytes> + Unpin,
{
    let is_late = Late::default();
    let (head, body) = request.into_parts();
    let (body, rest) = lingering(Timed::new(body, pace, is_late.clone()));
    let request = Request::from_parts(head, body);
    let answered = match one_host(&request).and_then(|()| gate.room(&request)) {
        Ok(_room) => service.call(request).await.map_err(Into::into),
        Err(problem) => Err(problem),
    };
    let mut answer = match answered {
        // Whatever was made of a body that never came: that is what the client did.
        _ if is_late.is_so() => document(&late()).await.map(Either::Right),
        Ok(answer) => answer.map(Either::Left),
        Err(problem) => document(&problem).await.map(Either::Right),
    };
    if answer.status() == StatusCode::REQUEST_TIMEOUT {
        // What still comes of the body is no request.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer.map(|answer| Lingering::new(answer, rest)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_heads_have_one_room() {
        let gate = Gate::default();
        let request = |length| Request::builder().header("x", "x".repeat(length)).body(()).unwrap();
        let long = request(30 * 1024);
        let mut held: Vec<_> = std::iter::from_fn(|| gate.room(&long).ok()).collect();
        assert_eq!(held.len(), HEADS / 31);
        assert_eq!(gate.room(&long).unwrap_err().code, Code::Busy);
        // What is usual goes through all the same.
        assert!(gate.room(&request(SHORT - 10)).unwrap().is_none());
        held.pop();
        assert!(gate.room(&long).unwrap().is_some());
    }
}
