//! Answers that go on: server-sent events and plain text. Written by hand, since tide's own would start a second
//! runtime.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_types::StatusCode;
use serde_json::json;
use sync_wrapper::SyncStream;
use tide::Response;
use tokio_util::compat::TokioAsyncReadCompatExt;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use super::respond::Head;
use crate::api::logs::LogEntry;
use crate::deploys::{self, LogLine};
use crate::problem::{Code, Problem};

/// How often a silent stream says that it lives, so that no proxy between closes it.
const ALIVE: std::time::Duration = std::time::Duration::from_secs(15);

fn answer(stream: impl Stream<Item = Bytes> + Send + 'static, content_type: &str) -> Response {
    let stream = stream.map(Ok::<_, std::io::Error>);
    let reader = StreamReader::new(SyncStream::new(Box::pin(stream))).compat();
    let mut response = Response::new(StatusCode::Ok);
    response.set_body(http_types::Body::from_reader(reader, None));
    response.set_header("content-type", content_type);
    response.set_header("cache-control", "no-store");
    response.set_header("x-accel-buffering", "no");
    response
}

/// Lines as server-sent events, each with its cursor as id. The last event is `closed`, with the problem's code where
/// one ended it: `restarting` when the agent stops.
pub fn events(lines: impl Stream<Item = LogLine> + Send + 'static, stopping: CancellationToken) -> Response {
    let stream = async_stream(lines, stopping, |line| match line {
        Step::Line(entry) => {
            let data = serde_json::to_string(&entry).unwrap_or_default();
            Bytes::from(format!("id: {}\ndata: {data}\n\n", entry.cursor))
        }
        Step::Alive => Bytes::from_static(b":\n\n"),
        Step::Closed(problem) => {
            let detail = problem.as_ref().map(|problem| &problem.detail);
            let data = json!({ "problem": problem.as_ref().map(|problem| problem.code.as_str()), "detail": detail });
            Bytes::from(format!("event: closed\ndata: {data}\n\n"))
        }
    });
    answer(stream, "text/event-stream")
}

/// Lines as plain text.
pub fn text(
    lines: impl Stream<Item = LogLine> + Send + 'static,
    stopping: CancellationToken,
    mut shown: impl FnMut(LogEntry) -> String + Send + 'static,
) -> Response {
    let stream = async_stream(lines, stopping, move |line| match line {
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
    stopping: CancellationToken,
    shown: impl FnMut(Step) -> Bytes + Send + 'static,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let state = (Box::pin(lines), stopping, false);
    futures_util::stream::unfold(state, |(mut lines, stopping, done)| async move {
        if done {
            return None;
        }
        let step = tokio::select! {
            biased;
            () = stopping.cancelled() => Step::Closed(Some(Problem::new(Code::Restarting, "the agent is stopping"))),
            line = lines.next() => match line {
                Some(Ok(entry)) => Step::Line(entry.into()),
                Some(Err(error)) => Step::Closed(Some(deploys::ended(&error))),
                None => Step::Closed(None),
            },
            () = tokio::time::sleep(ALIVE) => Step::Alive,
        };
        let done = matches!(step, Step::Closed(_));
        Some((step, (lines, stopping, done)))
    })
    .map(shown)
}
