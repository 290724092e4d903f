//! The one life of every stream: it begins with the answer, is fed within its window, and ends where its source does, the
//! client wants no more or may have no more of it, or the agent stops.

use serde_json::json;

use super::channel::{Channel, Gone};
use super::client::{Client, RequiredScope};
use crate::auth::Lease;
use crate::problem::Problem;

/// How a kind of stream ends.
#[derive(Debug)]
pub(super) struct StreamKind {
    /// The event that says so.
    pub(super) closed: &'static str,
    /// What is said when the agent stops; none where its source says it.
    pub(super) stopping: Option<&'static str>,
    /// Whether who wants no more of it is told that it has ended.
    pub(super) tells_leaver: bool,
    /// Whether an exit code is told, be there one or not.
    pub(super) has_code: bool,
}

/// How a stream ended.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Why, where it is not simply over.
    pub(super) problem: Option<Problem>,
    /// The exit code of the program that it showed.
    pub(super) code: Option<i32>,
}

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self { problem: Some(problem), code: None }
    }
}

/// What a stream is of.
pub(super) trait Source: Send + 'static {
    /// How it ends.
    const KIND: StreamKind;

    /// Sends all there is; how it ended.
    fn feed(&mut self, channel: &Channel) -> impl Future<Output = Result<End, Gone>> + Send;
}

/// A stream's whole life. Whoever has no `right` to lose is cut off with the connection.
pub(super) async fn live<S: Source>(client: Client, right: Option<RequiredScope>, channel: Channel, mut source: S) {
    let lease = right.map_or_else(Lease::default, |right| client.lease(right));
    let lease = match S::KIND.stopping {
        Some(detail) => lease.until(client.state().stopping().clone(), detail),
        None => lease,
    };
    let life = async {
        tokio::select! {
            biased;
            () = channel.closing() => None,
            ended = source.feed(&channel) => Some(ended),
        }
    };
    let end: End = match client.gone().run_until_cancelled(lease.hold(life)).await {
        None | Some(Ok(Some(Err(Gone)))) => return,
        Some(Err(problem)) => problem.into(),
        Some(Ok(Some(Ok(end)))) => end,
        Some(Ok(None)) if S::KIND.tells_leaver => End::default(),
        Some(Ok(None)) => return,
    };
    let more = if S::KIND.has_code { json!({ "code": end.code }) } else { json!({}) };
    let _ = client.gone().run_until_cancelled(channel.close(S::KIND.closed, end.problem.as_ref(), more)).await;
}
