//! Answers that go on: server-sent events, plain text and what a program writes. Each ends when whoever reads it may not any
//! more. Written by hand, since tide's own would start a second
//! runtime.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_types::StatusCode;
use serde_json::json;
use sync_wrapper::SyncStream;
use tide::Response;
use tokio::io::AsyncRead;
use tokio::time::timeout;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tokio_util::io::{ReaderStream, StreamReader};

use super::respond::Head;
use crate::api::logs::LogEntry;
use crate::auth::Lease;
use crate::problem::Problem;
use crate::services::log::{self, LogLine};

/// How often a silent stream says that it lives, so that no proxy between closes it.
const ALIVE: std::time::Duration = std::time::Duration::from_secs(15);
/// How much of what a program writes goes on at once.
const PIECE: usize = 64 * 1024;

fn answer(stream: impl Stream<Item = Bytes> + Send + 'static, content_type: &str) -> Response {
    let stream = stream.map(Ok::<_, io::Error>);
    let reader = StreamReader::new(SyncStream::new(Box::pin(stream))).compat();
    let mut response = Response::new(StatusCode::Ok);
    response.set_body(http_types::Body::from_reader(reader, None));
    response.set_header("content-type", content_type);
    response.set_header("cache-control", "no-store");
    response.set_header("x-accel-buffering", "no");
    response
}

/// What a program writes, for as long as whoever reads it may. One who may not any more sees it broken off, and not as if
/// it were whole.
pub fn bytes(read: impl AsyncRead + Send + Unpin + 'static, lease: Lease) -> http_types::Body {
    // What a program writes has its own end, and an agent that stops waits for that.
    let state = Some((ReaderStream::with_capacity(read, PIECE), lease.while_stopping()));
    let pieces = futures_util::stream::unfold(state, |state| async move {
        let (mut pieces, lease) = state?;
        let piece = match lease.hold(pieces.next()).await {
            Ok(piece) => piece?,
            Err(problem) => Err(io::Error::new(io::ErrorKind::PermissionDenied, problem)),
        };
        let goes_on = piece.is_ok();
        Some((piece, goes_on.then_some((pieces, lease))))
    });
    let reader = StreamReader::new(SyncStream::new(Box::pin(pieces))).compat();
    http_types::Body::from_reader(reader, None)
}

/// Lines as server-sent events, each with its cursor as id. The last event is `closed`, with the problem's code where
/// one ended it: `restarting` when the agent stops, `not-signed-in` when what the reader showed has ended, `not-found` when
/// the service is gone.
pub fn events(lines: impl Stream<Item = LogLine> + Send + 'static, lease: Lease) -> Response {
    let stream = async_stream(lines, lease, |line| match line {
        Step::Line(entry) => {
            let data = serde_json::to_string(&entry).unwrap_or_default();
            Bytes::from(format!("id: {}\ndata: {data}\n\n", entry.cursor))
        }
        Step::Alive => Bytes::from_static(b":\n\n"),
        Step::Closed(problem) => {
            let detail = problem.as_ref().map(|problem| &*problem.detail);
            let data = json!({ "problem": problem.as_ref().map(|problem| problem.code.as_str()), "detail": detail });
            Bytes::from(format!("event: closed\ndata: {data}\n\n"))
        }
    });
    answer(stream, "text/event-stream")
}

/// Lines as plain text. The last is the problem's code where one ended it.
pub fn text(
    lines: impl Stream<Item = LogLine> + Send + 'static,
    lease: Lease,
    shown: impl FnMut(LogEntry) -> String + Send + 'static,
) -> Response {
    text_until(lines, lease, shown, |problem| format!("[{}]", problem.code.as_str()))
}

/// The same with other words where a problem ended it.
pub fn text_until(
    lines: impl Stream<Item = LogLine> + Send + 'static,
    lease: Lease,
    mut shown: impl FnMut(LogEntry) -> String + Send + 'static,
    mut ended: impl FnMut(Problem) -> String + Send + 'static,
) -> Response {
    let stream = async_stream(lines, lease, move |line| match line {
        Step::Line(entry) => Bytes::from(shown(entry)),
        Step::Alive | Step::Closed(None) => Bytes::new(),
        Step::Closed(Some(problem)) => Bytes::from(format!("{}\n", ended(problem))),
    });
    answer(stream.filter(|bytes| std::future::ready(!bytes.is_empty())), "text/plain; charset=utf-8")
}

enum Step {
    Line(LogEntry),
    Alive,
    Closed(Option<Problem>),
}

fn async_stream(
    lines: impl Stream<Item = LogLine> + Send + 'static,
    lease: Lease,
    shown: impl FnMut(Step) -> Bytes + Send + 'static,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let state = (Box::pin(lines), lease, false);
    futures_util::stream::unfold(state, |(mut lines, lease, done)| async move {
        if done {
            return None;
        }
        let step = match lease.hold(timeout(ALIVE, lines.next())).await {
            Err(problem) => Step::Closed(Some(problem)),
            Ok(Err(_)) => Step::Alive,
            Ok(Ok(Some(Ok(entry)))) => Step::Line(entry.into()),
            Ok(Ok(Some(Err(error)))) => Step::Closed(Some(log::ended(&error))),
            Ok(Ok(None)) => Step::Closed(None),
        };
        let done = matches!(step, Step::Closed(_));
        Some((step, (lines, lease, done)))
    })
    .map(shown)
}
