//! One client on one namespace: who it is, its streams, and its events, each authorised anew and answered in turn.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use socketioxide::extract::{AckSender, SocketRef, TryData};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::channel::{Streams, told};
use super::table::{EVENTS, Event, Order};
use super::term::Attached;
use super::{JOIN, Sockets};
use crate::auth::{Deed, Identity, Stay};
use crate::names::{Scope, ServiceName};
use crate::problem::{Code, Problem};

/// How many of a client's events wait for their turn.
const WAITING: usize = 64;
/// How many of its slow events run beside the others.
const BESIDE: usize = 4;

/// A connected client.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sockets: Sockets,
    stay: Stay,
    address: Option<IpAddr>,
    streams: Streams,
    attached: Attached,
    turns: mpsc::Sender<Job>,
    beside: Arc<Semaphore>,
    wants_stats: watch::Sender<bool>,
    joined: CancellationToken,
    gone: CancellationToken,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Work that waits for its turn.
pub(super) struct Job(Work);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// What an event is about; what it takes is asked of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The client's own connection and its streams.
    Own,
    /// The whole host.
    Host,
    /// A service.
    Service(ServiceName),
}

/// What a client sends with an event.
pub trait Payload: DeserializeOwned + Send + Sync + 'static {
    /// What it is about.
    fn subject(&self, sockets: &Sockets) -> impl Future<Output = Result<Subject, Problem>> + Send;
}

/// An event whose lock was opened.
#[derive(Debug)]
pub struct Call {
    /// Who sent it.
    pub client: Client,
    /// Where answers go.
    pub socket: SocketRef,
    /// What the event took, and of what.
    pub(super) right: Right,
}

/// What a client must be allowed to do for as long as a stream goes on.
#[derive(Debug, Clone)]
pub(super) struct Right {
    scope: Scope,
    subject: Subject,
}

/// What a handler answers.
pub struct Answer {
    told: Value,
    stream: Option<Work>,
}

impl From<Value> for Answer {
    fn from(told: Value) -> Self {
        Self { told, stream: None }
    }
}

impl Answer {
    /// The answer, and what begins once it is sent: a client must know of its channel before anything comes on it.
    pub fn stream(told: Value, stream: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { told, stream: Some(Box::pin(stream)) }
    }
}

impl Client {
    /// A client that was let in; its events come out of the receiver in turn.
    pub(super) fn new(sockets: Sockets, stay: Stay, address: Option<IpAddr>) -> (Self, mpsc::Receiver<Job>) {
        let (turns, jobs) = mpsc::channel(WAITING);
        let inner = Inner {
            sockets,
            stay,
            address,
            streams: Streams::default(),
            attached: Attached::default(),
            turns,
            beside: Arc::new(Semaphore::new(BESIDE)),
            wants_stats: watch::Sender::new(false),
            joined: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        (Self { inner: Arc::new(inner) }, jobs)
    }

    /// What it is connected to.
    #[must_use]
    pub fn sockets(&self) -> &Sockets {
        &self.inner.sockets
    }

    /// Who it is, as of now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.stay.identity()
    }

    /// Whether it may stay.
    #[must_use]
    pub(super) fn stay(&self) -> &Stay {
        &self.inner.stay
    }

    /// Something that it does, for the audit log.
    #[must_use]
    pub fn deed(&self, action: String, target: String) -> Deed {
        let actor = Some(self.identity().actor);
        Deed { actor, address: self.inner.address, action, target, result: "done".into(), detail: None }
    }

    /// Waits until it may not do that any more, and gives why. Whose credential has ended is cut off.
    pub(super) async fn refused(&self, right: &Right) -> Problem {
        let own;
        let service = match &right.subject {
            Subject::Own => {
                own = self.identity().grant.service;
                own.as_ref()
            }
            Subject::Host => None,
            Subject::Service(service) => Some(service),
        };
        self.inner.stay.refused(right.scope, service).await
    }

    /// Whether it may see `service`.
    #[must_use]
    pub fn sees(&self, service: &ServiceName) -> bool {
        self.inner.stay.allows(Scope::Read, Some(service)).is_ok()
    }

    /// Its streams.
    #[must_use]
    pub fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    /// The terminal sessions that it watches.
    #[must_use]
    pub(super) fn attached(&self) -> &Attached {
        &self.inner.attached
    }

    /// Whether it asked for figures.
    #[must_use]
    pub fn wants_stats(&self) -> &watch::Sender<bool> {
        &self.inner.wants_stats
    }

    /// Cancelled once it is on its namespace.
    #[must_use]
    pub(super) fn joined(&self) -> &CancellationToken {
        &self.inner.joined
    }

    /// Cancelled once it is disconnected.
    #[must_use]
    pub fn gone(&self) -> &CancellationToken {
        &self.inner.gone
    }

    /// Waits until it can be answered; false where it never can.
    async fn has_joined(&self) -> bool {
        let joined = self.inner.gone.run_until_cancelled(self.inner.joined.cancelled());
        matches!(timeout(JOIN, joined).await, Ok(Some(())))
    }

    /// Answers its events in turn until it is gone.
    pub(super) async fn answer(self, mut jobs: mpsc::Receiver<Job>) {
        if !self.has_joined().await {
            return;
        }
        while let Some(Some(Job(work))) = self.inner.gone.run_until_cancelled(jobs.recv()).await {
            if self.inner.gone.run_until_cancelled(work).await.is_none() {
                return;
            }
        }
    }
}

/// Whether `identity` may do what takes `scope` to `subject`.
pub(super) fn authorise(identity: &Identity, scope: Scope, subject: &Subject) -> Result<(), Problem> {
    match subject {
        Subject::Own => identity.allows(scope, identity.grant.service.as_ref()),
        Subject::Host => identity.allows(scope, None),
        Subject::Service(service) => identity.allows(scope, Some(service)),
    }
}

/// Lets `socket` take all events of its namespace, and answers the others.
pub(super) fn listen_to_all(socket: &SocketRef, client: &Client) {
    for event in EVENTS.iter().filter(|event| event.namespace == socket.ns()) {
        (event.listen)(event, socket, client);
    }
    socket.on_fallback(|ack: AckSender| {
        reply(ack, Err(Problem::new(Code::NotFound, "this namespace takes no such event")));
        std::future::ready(())
    });
}

/// Lets `socket` take one event.
pub(super) fn listen<T, F, Answered>(event: &'static Event, socket: &SocketRef, client: &Client, handler: F)
where
    T: Payload,
    F: Fn(Call, T) -> Answered + Clone + Send + Sync + 'static,
    Answered: Future<Output = Result<Answer, Problem>> + Send + 'static,
{
    let client = client.clone();
    // What runs here runs in the order in which the client sent; what it returns runs in any.
    let take = move |socket: SocketRef, TryData(data): TryData<T>, ack: AckSender| {
        let job = {
            let (client, handler) = (client.clone(), handler.clone());
            move |ack| -> Work {
                Box::pin(async move {
                    let answer = async {
                        let data = data.map_err(|error| {
                            Problem::new(Code::BadRequest, format!("`{}` doesn't take that: {error}", event.name))
                        })?;
                        let subject = data.subject(client.sockets()).await?;
                        authorise(&client.identity(), event.scope, &subject)?;
                        let right = Right { scope: event.scope, subject };
                        handler(Call { client: client.clone(), socket, right }, data).await
                    };
                    let answer = answer.await;
                    if let Err(problem) = &answer
                        && problem.code == Code::Internal
                    {
                        tracing::error!(namespace = event.namespace, event = event.name, "{problem}");
                    }
                    if let Err(problem) = &answer
                        && problem.code.is_refusal()
                    {
                        let deed = client.deed(format!("{} {}", event.namespace, event.name), event.namespace.into());
                        let deed = Deed { result: problem.code.as_str().into(), ..deed };
                        client.sockets().auth().refused(deed).await;
                    }
                    let (told, stream) = match answer {
                        Ok(answer) => (Ok(answer.told), answer.stream),
                        Err(problem) => (Err(problem), None),
                    };
                    reply(ack, told);
                    if let Some(stream) = stream {
                        client.sockets().streams().spawn(stream);
                    }
                })
            }
        };
        let busy = || Problem::new(Code::RateLimited, "too many events at once");
        match event.order {
            // What is refused is written down first, which takes a turn as all else does.
            Order::AtOnce if client.joined().is_cancelled() => {
                let mut work = job(ack);
                if (&mut work).now_or_never().is_none() {
                    let _ = client.inner.turns.try_send(Job(work));
                }
            }
            Order::AtOnce | Order::InTurn => match client.inner.turns.try_reserve() {
                Ok(place) => place.send(Job(job(ack))),
                Err(_) => reply(ack, Err(busy())),
            },
            Order::Beside => match client.inner.beside.clone().try_acquire_owned() {
                Ok(place) => {
                    let (client, work) = (client.clone(), job(ack));
                    client.sockets().tasks().clone().spawn(async move {
                        if client.has_joined().await {
                            client.gone().run_until_cancelled(work).await;
                        }
                        drop(place);
                    });
                }
                Err(_) => reply(ack, Err(busy())),
            },
        }
        std::future::ready(())
    };
    socket.on(event.name, take);
}

/// Answers an event. One that was sent without wanting an answer gets none.
fn reply(ack: AckSender, answer: Result<Value, Problem>) {
    let answer = answer.unwrap_or_else(|problem| told(&problem));
    if let Err(error) = ack.send(&answer) {
        tracing::debug!("an answer was not sent: {error}");
    }
}
