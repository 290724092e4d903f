//! `/log`: the lines of a service or of a deployment, those that were there and those that come, on one cursor.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use serde_json::json;
use tokio::time::timeout;

use super::call::{Answer, Call, Payload};
use super::channel::{Channel, Gone, Key, MESSAGE, Received};
use super::life::{End, Source, StreamKind};
use super::subject::About;
use crate::api::live::{Ack, Close, LogData, OpenLog};
use crate::api::logs::{LINES, LogEntry, PRIORITIES, USUAL_LINES};
use crate::deploys::Deploys;
use crate::names::{DeploymentId, ReleaseNumber};
use crate::problem::{Code, Problem, chain};
use crate::services::log::{self, By, LogLine, LogPart, ServiceLog};
use crate::services::{ServiceError, Services};

/// How long a client whose window is full may acknowledge nothing until its reader is closed. It is opened again at the
/// same place. One that has room is read for, however seldom it acknowledges.
const PARK: Duration = Duration::from_millis(500);
const WHOSE: &str = "a stream is of a `service` or of a `deployment`";

impl Payload for OpenLog {
    fn about(&self) -> Result<About, Problem> {
        match (&self.service, self.deployment) {
            (Some(service), None) => Ok(About::Place(Some(service.clone()))),
            (None, Some(id)) => Ok(About::Deployment(id)),
            _ => Err(Problem::new(Code::BadRequest, WHOSE)),
        }
    }
}

impl Payload for Ack {
    fn about(&self) -> Result<About, Problem> {
        Ok(About::Own)
    }
}

impl Payload for Close {
    fn about(&self) -> Result<About, Problem> {
        Ok(About::Own)
    }
}

/// Whose lines.
enum Whose {
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
        log::check(pattern).map_err(|error| error.problem())?;
    }
    let (source, lines) = match (wanted.service, wanted.deployment) {
        (Some(service), None) => {
            let log = call.client.state().services().service_log(&service, wanted.release.map(ReleaseNumber)).await;
            (
                Whose::Service(Box::new(log.map_err(|error| error.problem())?)),
                lines.or(usize::try_from(USUAL_LINES).ok()),
            )
        }
        (None, Some(id)) => (Whose::Deployment(id), lines),
        _ => return Err(Problem::new(Code::BadRequest, WHOSE)),
    };
    let by = By::Actor(call.client.identity().actor);
    let part = LogPart { by, cursor: wanted.cursor, including: false, lines, grep: wanted.grep, priority };
    let state = call.client.state();
    let (services, deploys) = (state.services().clone(), state.deploys().clone());
    let feed = Feed { services, deploys, source, part };
    // That there is such a service is said in the answer, not in the stream.
    let first = feed.lines().await?;
    let (id, channel) = call.client.streams().open(call.socket)?;
    Ok(Answer::stream(json!({ "channel": id }), channel, Following { id, feed, first: Some(first) }))
}

pub(super) async fn ack(call: Call, ack: Ack) -> Result<Answer, Problem> {
    call.client.streams().acknowledge(&Key::Channel(ack.channel), Received::Message(ack.seq))?;
    Ok(Answer::from(json!({})))
}

pub(super) async fn close(call: Call, close: Close) -> Result<Answer, Problem> {
    call.client.streams().close(&Key::Channel(close.channel))?;
    Ok(Answer::from(json!({})))
}

type Lines = Pin<Box<dyn Stream<Item = LogLine> + Send>>;

struct Feed {
    services: Services,
    deploys: Deploys,
    source: Whose,
    part: LogPart,
}

/// A log as one client follows it.
struct Following {
    /// Its channel.
    id: u32,
    feed: Feed,
    /// The lines that it begins with.
    first: Option<Lines>,
}

impl Feed {
    /// The lines behind the last one that was sent, from a reader of their own.
    async fn lines(&self) -> Result<Lines, Problem> {
        let lines: Result<Lines, ServiceError> = match &self.source {
            Whose::Service(log) => self
                .services
                .follow_part(ServiceLog::clone(log), self.part.clone())
                .await
                .map(|lines| Box::pin(lines) as Lines),
            Whose::Deployment(id) => {
                self.deploys.log(*id, self.part.clone()).await.map(|lines| Box::pin(lines) as Lines)
            }
        };
        lines.map_err(|error| {
            tracing::debug!("no log to stream: {}", chain(&error));
            error.problem()
        })
    }

    /// Sends all lines until there are no more.
    async fn pump(&mut self, id: u32, channel: &Channel, first: Option<Lines>) -> Result<(), Problem> {
        let mut reader = first.map(Batches::new);
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
            let data = LogData { channel: id, seq, entries };
            if channel.send("data", &data).await.is_err() {
                return Ok(());
            }
        }
    }
}

impl Source for Following {
    const KIND: StreamKind = StreamKind {
        closed: "closed",
        stopping: Some("the agent is stopping; open the stream again behind the last line"),
        tells_leaver: true,
        has_code: false,
    };

    async fn feed(&mut self, channel: &Channel) -> Result<End, Gone> {
        let sent = self.feed.pump(self.id, channel, self.first.take()).await;
        Ok(sent.map_or_else(End::from, |()| End::default()))
    }
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
                    return Some(Err(log::ended(&error)));
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
