//! `/log`: the lines of a service or of a deployment, those that were there and those that come, on one cursor.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use serde_json::json;
use tokio::time::timeout;

use super::Sockets;
use super::channel::{Channel, MESSAGE};
use super::client::{Answer, Call, Client, Payload, Right, Subject};
use crate::api::live::{Ack, Close, LogData, OpenLog};
use crate::api::logs::{LINES, LogEntry, PRIORITIES, USUAL_LINES};
use crate::deploys::{self, Deploys, LogLine, LogPart, ServiceLog};
use crate::journal::{self, By};
use crate::names::{DeploymentId, ReleaseNumber};
use crate::problem::{Code, Problem, chain};
use crate::services::ServiceError;

/// How long a client whose window is full may acknowledge nothing until its reader is closed. It is opened again at the
/// same place. One that has room is read for, however seldom it acknowledges.
const PARK: Duration = Duration::from_millis(500);
const WHOSE: &str = "a stream is of a `service` or of a `deployment`";

impl Payload for OpenLog {
    async fn subject(&self, sockets: &Sockets) -> Result<Subject, Problem> {
        match (&self.service, self.deployment) {
            (Some(service), None) => Ok(Subject::Service(service.clone())),
            (None, Some(id)) => {
                let row = sockets.parts().store.deployment(id).await.map_err(|error| error.problem())?;
                Ok(Subject::Service(row.service))
            }
            _ => Err(Problem::new(Code::BadRequest, WHOSE)),
        }
    }
}

impl Payload for Ack {
    async fn subject(&self, _: &Sockets) -> Result<Subject, Problem> {
        Ok(Subject::Own)
    }
}

impl Payload for Close {
    async fn subject(&self, _: &Sockets) -> Result<Subject, Problem> {
        Ok(Subject::Own)
    }
}

/// Whose lines.
enum Source {
    Service(Box<ServiceLog>),
    Deployment(DeploymentId),
}

pub(super) async fn open(call: Call, wanted: OpenLog) -> Result<Answer, Problem> {
    let within = |value: Option<u64>, name: &str, most: u64| match value {
        Some(value) if value > most => {
            Err(Problem::new(Code::BadRequest, format!("`{name}` must be from 0 to {most}")))
        }
        value => Ok(value),
    };
    let lines = within(wanted.lines, "lines", *LINES.end())?.and_then(|lines| usize::try_from(lines).ok());
    let priority =
        within(wanted.priority, "priority", *PRIORITIES.end())?.and_then(|priority| u8::try_from(priority).ok());
    if let Some(pattern) = &wanted.grep {
        journal::check(pattern).map_err(|error| error.problem())?;
    }
    let (source, lines) = match (wanted.service, wanted.deployment) {
        (Some(service), None) => {
            let log = call.client.sockets().deploys().service_log(&service, wanted.release.map(ReleaseNumber)).await;
            (
                Source::Service(Box::new(log.map_err(|error| error.problem())?)),
                lines.or(usize::try_from(USUAL_LINES).ok()),
            )
        }
        (None, Some(id)) => (Source::Deployment(id), lines),
        _ => return Err(Problem::new(Code::BadRequest, WHOSE)),
    };
    let by = By::Actor(call.client.identity().actor);
    let part = LogPart { by, cursor: wanted.cursor, including: false, lines, grep: wanted.grep, priority };
    let feed = Feed { deploys: call.client.sockets().deploys().clone(), source, part };
    // That there is such a service is said in the answer, not in the stream.
    let first = feed.lines().await?;
    let channel = call.client.streams().open(call.socket)?;
    let told = json!({ "channel": channel.id() });
    Ok(Answer::stream(told, run(call.client, call.right, channel, feed, first)))
}

pub(super) async fn ack(call: Call, ack: Ack) -> Result<Answer, Problem> {
    call.client.streams().acknowledge(ack.channel, ack.seq)?;
    Ok(Answer::from(json!({})))
}

pub(super) async fn close(call: Call, close: Close) -> Result<Answer, Problem> {
    call.client.streams().close(close.channel)?;
    Ok(Answer::from(json!({})))
}

type Lines = Pin<Box<dyn Stream<Item = LogLine> + Send>>;

struct Feed {
    deploys: Deploys,
    source: Source,
    part: LogPart,
}

impl Feed {
    /// The lines behind the last one that was sent, from a reader of their own.
    async fn lines(&self) -> Result<Lines, Problem> {
        let lines: Result<Lines, ServiceError> = match &self.source {
            Source::Service(log) => self
                .deploys
                .follow_part(ServiceLog::clone(log), self.part.clone())
                .await
                .map(|lines| Box::pin(lines) as Lines),
            Source::Deployment(id) => {
                self.deploys.log(*id, self.part.clone()).await.map(|lines| Box::pin(lines) as Lines)
            }
        };
        lines.map_err(|error| {
            tracing::debug!("no log to stream: {}", chain(&error));
            error.problem()
        })
    }

    /// Sends all lines until there are no more.
    async fn pump(&mut self, channel: &Channel, first: Lines) -> Result<(), Problem> {
        let mut reader = Some(Batches::new(first));
        // The room of a message that is to be read again.
        let mut kept: Option<(u64, usize)> = None;
        loop {
            let batches = match &mut reader {
                Some(batches) => batches,
                None => reader.insert(Batches::new(self.lines().await?)),
            };
            let most = kept.map_or(MESSAGE, |(_, bytes)| bytes);
            let Some(batch) = batches.next(most).await else { return Ok(()) };
            let (entries, bytes) = batch?;
            let seq = match kept.take() {
                Some((seq, _)) => seq,
                None => match timeout(PARK, channel.room(bytes)).await {
                    Ok(seq) => seq,
                    Err(_) => {
                        // Who waits holds nothing of the journal, these lines neither: they are read again when there
                        // is room for them.
                        if let (None, Some(first)) = (&self.part.cursor, entries.first()) {
                            self.part.cursor = Some(first.cursor.clone());
                            self.part.including = true;
                        }
                        reader = None;
                        drop(entries);
                        kept = Some((channel.room(bytes).await, bytes));
                        continue;
                    }
                },
            };
            if let Some(last) = entries.last() {
                self.part.cursor = Some(last.cursor.clone());
                self.part.including = false;
            }
            let data = LogData { channel: channel.id(), seq, entries };
            if channel.send("data", &data).await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn run(client: Client, right: Right, channel: Channel, mut feed: Feed, first: Lines) {
    let ended = tokio::select! {
        biased;
        () = client.gone().cancelled() => return,
        () = client.sockets().stopping().cancelled() => {
            Err(Problem::new(Code::Restarting, "the agent is stopping; open the stream again behind the last line"))
        }
        () = channel.closing() => Ok(()),
        problem = client.refused(&right) => Err(problem),
        ended = feed.pump(&channel, first) => ended,
    };
    let _ = client.gone().run_until_cancelled(channel.close(ended.err().as_ref())).await;
}

/// Lines that are there together, together.
struct Batches {
    lines: Lines,
    /// What didn't fit into the last batch.
    next: Option<Result<LogEntry, ServiceError>>,
}

impl Batches {
    fn new(lines: Lines) -> Self {
        Self { lines, next: None }
    }

    /// Some lines, and how many bytes they take: at most so many, but for a single line that is larger.
    async fn next(&mut self, most: usize) -> Option<Result<(Vec<LogEntry>, usize), Problem>> {
        let mut line = match self.next.take() {
            Some(line) => line,
            None => self.lines.next().await?.map(LogEntry::from),
        };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        loop {
            let entry = match line {
                Ok(entry) => entry,
                Err(error) if entries.is_empty() => {
                    return Some(Err(deploys::ended(&error)));
                }
                error => {
                    self.next = Some(error);
                    break;
                }
            };
            let size = entry.size();
            if bytes + size > most && !entries.is_empty() {
                self.next = Some(Ok(entry));
                break;
            }
            bytes += size;
            entries.push(entry);
            match self.lines.next().now_or_never() {
                Some(Some(next)) => line = next.map(LogEntry::from),
                // Nothing is there yet, or nothing more will come: the next call tells.
                _ => break,
            }
        }
        Some(Ok((entries, bytes)))
    }
}
