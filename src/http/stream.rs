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
use tokio_util::compat::TokioAsyncReadCompatExt;
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::sync::CancellationToken;

use super::respond::Head;
use crate::api::logs::LogEntry;
use crate::auth::Stay;
use crate::names::{Scope, ServiceName};
use crate::problem::{Code, Problem};
use crate::services::log::{self, LogLine};

/// How often a silent stream says that it lives, so that no proxy between closes it.
const ALIVE: std::time::Duration = std::time::Duration::from_secs(15);
/// How much of what a program writes goes on at once.
const PIECE: usize = 64 * 1024;

/// When an answer must end, however much more there is.
pub struct Ends {
    pub(super) stopping: CancellationToken,
    /// Who reads, and what it must be allowed meanwhile; nobody where anybody may.
    pub(super) stays: Option<(Stay, Scope, Option<ServiceName>)>,
}

impl Ends {
    /// Waits for it, and gives why.
    async fn end(&self) -> Problem {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Problem::new(Code::Restarting, "the agent is stopping"),
            problem = self.refused() => problem,
        }
    }

    /// Waits until whoever reads may not do so any more.
    async fn refused(&self) -> Problem {
        match &self.stays {
            Some((stay, scope, service)) => stay.refused(*scope, service.as_ref()).await,
            None => std::future::pending().await,
        }
    }
}

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
pub fn bytes(read: impl AsyncRead + Send + Unpin + 'static, ends: Ends) -> http_types::Body {
    let state = Some((ReaderStream::with_capacity(read, PIECE), ends));
    let pieces = futures_util::stream::unfold(state, |state| async move {
        let (mut pieces, ends) = state?;
        let piece = tokio::select! {
            biased;
            problem = ends.refused() => Err(io::Error::new(io::ErrorKind::PermissionDenied, problem)),
            piece = pieces.next() => piece?,
        };
        let goes_on = piece.is_ok();
        Some((piece, goes_on.then_some((pieces, ends))))
    });
    let reader = StreamReader::new(SyncStream::new(Box::pin(pieces))).compat();
    http_types::Body::from_reader(reader, None)
}

/// Lines as server-sent events, each with its cursor as id. The last event is `closed`, with the problem's code where
/// one ended it: `restarting` when the agent stops, `not-signed-in` when what the reader showed has ended, `not-found` when
/// the service is gone.
pub fn events(lines: impl Stream<Item = LogLine> + Send + 'static, ends: Ends) -> Response {
    let stream = async_stream(lines, ends, |line| match line {
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

/// Lines as plain text.
pub fn text(
    lines: impl Stream<Item = LogLine> + Send + 'static,
    ends: Ends,
    mut shown: impl FnMut(LogEntry) -> String + Send + 'static,
) -> Response {
    let stream = async_stream(lines, ends, move |line| match line {
        Step::Line(entry) => Bytes::from(shown(entry)),
        Step::Alive | Step::Closed(None) => Bytes::new(),
        Step::Closed(Some(problem)) => Bytes::from(format!("[{}]\n", problem.code.as_str())),
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
    ends: Ends,
    shown: impl FnMut(Step) -> Bytes + Send + 'static,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let state = (Box::pin(lines), ends, false);
    futures_util::stream::unfold(state, |(mut lines, ends, done)| async move {
        if done {
            return None;
        }
        let step = tokio::select! {
            biased;
            problem = ends.end() => Step::Closed(Some(problem)),
            line = lines.next() => match line {
                Some(Ok(entry)) => Step::Line(entry.into()),
                Some(Err(error)) => Step::Closed(Some(log::ended(&error))),
                None => Step::Closed(None),
            },
            () = tokio::time::sleep(ALIVE) => Step::Alive,
        };
        let done = matches!(step, Step::Closed(_));
        Some((step, (lines, ends, done)))
    })
    .map(shown)
}
