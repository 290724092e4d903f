//! Between hyper and tide: requests go in and answers come out, both streamed. When the client goes away the call's
//! future is dropped; what it has begun to change goes on.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, Limited, StreamBody};
use sync_wrapper::SyncStream;
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use tokio_util::io::{ReaderStream, StreamReader};
use url::Url;

use super::body::{io_error, too_large};
use super::respond;
use crate::problem::{Code, Problem};

/// An answer's body.
pub type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// An answer up to this size goes out in one piece, with its length.
const WHOLE: usize = 64 * 1024;

/// tide as a hyper service.
pub struct Bridge<S> {
    app: tide::Server<S>,
    limit: fn(&S, &str) -> usize,
}

impl<S: Clone + Send + Sync + 'static> Clone for Bridge<S> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), limit: self.limit }
    }
}

impl<S: Clone + Send + Sync + 'static> Bridge<S> {
    /// `limit` tells how many bytes a path's body may have.
    pub fn new(app: tide::Server<S>, limit: fn(&S, &str) -> usize) -> Self {
        Self { app, limit }
    }

    async fn answer<B>(self, request: Request<B>) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let limit = (self.limit)(self.app.state(), request.uri().path());
        let request = match to_tide(request, limit) {
            Ok(request) => request,
            Err(problem) => return document(&problem).await,
        };
        let answered = std::panic::AssertUnwindSafe(self.app.respond::<_, http_types::Response>(request));
        match answered.catch_unwind().await {
            Ok(Ok(answer)) => from_tide(answer).await,
            Ok(Err(error)) => {
                tracing::error!("a handler failed: {error}");
                document(&internal()).await
            }
            // The default hook has written the panic itself.
            Err(_) => document(&internal()).await,
        }
    }
}

fn internal() -> Problem {
    Problem::new(Code::Internal, "the agent could not answer").with_hint("its log tells why: `journalctl -u podkeeper`")
}

impl<S, B> hyper::service::Service<Request<B>> for Bridge<S>
where
    S: Clone + Send + Sync + 'static,
    B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

fn bad(detail: &'static str) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

#[expect(clippy::disallowed_methods, reason = "`to_str` takes visible ASCII alone")]
fn to_tide<B>(request: Request<B>, limit: usize) -> Result<http_types::Request, Problem>
where
    B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let method = parts.method.as_str().parse().map_err(|_| bad("this method is unknown"))?;
    let url = url(&parts)?;
    let mut out = http_types::Request::new(method, url);
    for (name, value) in &parts.headers {
        let value = value.to_str().map_err(|_| bad("a header holds characters that are not ASCII"))?;
        out.append_header(name.as_str(), value);
    }
    let length: Option<usize> = match parts.headers.get(CONTENT_LENGTH) {
        Some(value) => Some(value.to_str().ok().and_then(|v| v.parse().ok()).ok_or_else(|| bad("bad Content-Length"))?),
        None => None,
    };
    if length.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    if !body.is_end_stream() {
        let frames = BodyStream::new(Limited::new(body, limit))
            .try_filter_map(|frame| async move { Ok(frame.into_data().ok()) })
            .map_err(io_error);
        let reader = StreamReader::new(SyncStream::new(Box::pin(frames))).compat();
        out.set_body(http_types::Body::from_reader(reader, length));
        // `set_body` has put its own type in the place of the client's.
        match parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
            Some(content_type) => {
                out.insert_header("content-type", content_type);
            }
            None => {
                out.remove_header("content-type");
            }
        }
    }
    out.ext_mut().insert(parts.extensions);
    Ok(out)
}

/// The address of the request. A Host such as `x/admin?` would move the path, and is refused.
fn url(parts: &http::request::Parts) -> Result<Url, Problem> {
    let from_header = || parts.headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = parts.uri.authority().map(|authority| authority.as_str().to_owned()).or_else(from_header);
    let host = host.ok_or_else(|| bad("the Host header is missing"))?;
    if host.contains('@') || host.parse::<http::uri::Authority>().is_err() {
        return Err(bad("the Host header is not a host"));
    }
    // A URL's parser folds these away, and what was asked for and what answers would be two paths.
    let folds = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if parts.uri.path().split(['/', '\\']).any(folds) {
        return Err(bad("the path holds `.` or `..`"));
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    Url::parse(&format!("http://{host}{path}")).map_err(|_| bad("the address is not one"))
}

/// The answer that tells a problem.
pub(super) async fn document(problem: &Problem) -> Response<AnswerBody> {
    from_tide(respond::problem(problem).into()).await
}

async fn from_tide(mut answer: http_types::Response) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(answer.status().into()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = Response::builder().status(status);
    for (name, values) in answer.iter() {
        for value in values.iter() {
            builder = builder.header(name.as_str(), value.as_str());
        }
    }
    let body = answer.take_body();
    let body = match body.len() {
        Some(length) if length <= WHOLE => {
            let bytes = body.into_bytes().await.unwrap_or_default();
            Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync()
        }
        length => {
            if let Some(length) = length {
                builder = builder.header(CONTENT_LENGTH, length);
            }
            let stream = ReaderStream::with_capacity(body.compat(), WHOLE).map_ok(Frame::data);
            StreamBody::new(stream).boxed_unsync()
        }
    };
    // Only a header that http_types took and http refuses could fail here.
    builder.body(body).unwrap_or_else(|_| Response::new(Full::default().map_err(|never| match never {}).boxed_unsync()))
}
