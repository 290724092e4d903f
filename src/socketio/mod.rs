//! The streams of the interface over Socket.IO: how the services are, their log lines, terminals. socketioxide speaks
//! the protocol; here is who may connect, what each event does and how a stream lives.
//!
//! Each event stands once, in [`table`], with what it takes; nothing is authorised anywhere else.

pub mod channel;
mod client;
mod door;
mod lines;
mod log;
mod status;
pub mod table;
mod term;

use std::collections::HashMap;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::service::SocketIoService;
use socketioxide::{ParserConfig, SocketIo, SocketIoBuilder};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use client::{Call, Client, Payload, Subject};
pub use door::Guarded;
pub use lines::Streaming;

use crate::auth::{Auth, Deed, Identity, Presented, Way};
use crate::deploys::Deploys;
use crate::events::Event;
use crate::places::Seat;
use crate::problem::{Code, Problem, chain};
use crate::services::Adapters;
use crate::terminal::Terminals;
use channel::BUFFER;
use client::{authorise, listen_to_all};
use door::Door;
use lines::Lines;
use table::{NAMESPACES, Namespace};

/// Where clients connect.
pub const PATH: &str = "/socket.io";
/// How often a client is asked whether it lives, and how long it may take to say so: one that vanished is gone after
/// both.
const PING: Duration = Duration::from_secs(10);
/// How long somebody who connected may take to join a namespace. A session is gone after that, abandoned or not.
const JOIN: Duration = Duration::from_secs(5);
/// The largest message from a client.
const PAYLOAD: usize = 1 << 20;
/// How long a client that is cut off has for reading that it is.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long streams may take to say that the agent stops.
const STOP: Duration = Duration::from_secs(1);

/// The protocol's settings.
#[must_use]
pub fn protocol() -> SocketIoBuilder {
    SocketIo::builder()
        .req_path(PATH)
        .ping_interval(PING)
        .ping_timeout(PING)
        .connect_timeout(JOIN)
        .max_buffer_size(BUFFER)
        .max_payload(PAYLOAD as u64)
        .ws_max_message_size(PAYLOAD)
        .ws_max_frame_size(PAYLOAD)
        .ws_read_buffer_size(4096)
        .with_parser(ParserConfig::common().max_incoming_binaries(8).max_incoming_binary_buf_size(PAYLOAD))
}

/// Everybody who is connected.
#[derive(Debug, Clone)]
pub struct Sockets {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    io: SocketIo,
    deploys: Deploys,
    terminals: Terminals,
    auth: Auth,
    feed: status::Feed,
    stopping: CancellationToken,
    /// The streams, which say goodbye when the agent stops.
    streams: TaskTracker,
    /// All other tasks of clients.
    tasks: TaskTracker,
    lines: Lines,
    next: AtomicU64,
    clients: Mutex<HashMap<u64, (Client, SocketRef)>>,
    came: Notify,
}

/// Who is let in and doesn't know it yet.
#[derive(Debug, Clone)]
struct Expected {
    id: u64,
    client: Client,
}

/// What a client may show in its connect packet, where it can't send a header.
#[derive(Debug, Default, Deserialize)]
struct Shown {
    token: Option<String>,
}

impl Sockets {
    /// Puts the streams before `inner`, which answers everything else. They end when `stopping` is cancelled.
    pub fn mount<S: Clone>(
        inner: S,
        deploys: Deploys,
        terminals: Terminals,
        auth: Auth,
        stopping: CancellationToken,
    ) -> (Guarded<Streaming<SocketIoService<S>>>, Self) {
        let (service, io) = protocol().build_with_inner_svc(inner);
        let lines = Lines::new(io.clone());
        let door = Door::new(auth.clone(), lines.clone());
        let sockets = Self {
            inner: Arc::new(Inner {
                io: io.clone(),
                deploys,
                terminals,
                auth,
                feed: status::Feed::default(),
                stopping,
                streams: TaskTracker::new(),
                tasks: TaskTracker::new(),
                lines: lines.clone(),
                next: AtomicU64::new(0),
                clients: Mutex::default(),
                came: Notify::new(),
            }),
        };
        for namespace in NAMESPACES {
            let (admitting, connecting) = (sockets.clone(), sockets.clone());
            let connected = move |socket: SocketRef| {
                connecting.connected(socket);
                ready(())
            };
            let admit = move |socket: SocketRef, TryData(shown): TryData<Shown>| async move {
                admitting.admit(namespace, &socket, shown.unwrap_or_default()).await
            };
            io.ns(namespace.path, connected.with(admit));
        }
        (Guarded { service: Streaming { service, lines }, door }, sockets)
    }

    /// The parts of the host.
    #[must_use]
    pub fn parts(&self) -> &Adapters {
        self.inner.deploys.parts()
    }

    /// The deployments.
    #[must_use]
    pub fn deploys(&self) -> &Deploys {
        &self.inner.deploys
    }

    /// Credentials, and the log of what was done with them.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.inner.auth
    }

    /// The terminals.
    #[must_use]
    pub fn terminals(&self) -> &Terminals {
        &self.inner.terminals
    }

    /// Cancelled when the agent stops.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }

    /// Where streams run, so that each can say that the agent stops.
    #[must_use]
    pub fn streams(&self) -> &TaskTracker {
        &self.inner.streams
    }

    fn is_full(&self, socket: &SocketRef) -> bool {
        self.inner.lines.is_full(socket)
    }

    fn feed(&self) -> &status::Feed {
        &self.inner.feed
    }

    fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    /// Lets somebody into a namespace, or says why not.
    async fn admit(&self, namespace: &Namespace, socket: &SocketRef, shown: Shown) -> Result<(), Problem> {
        let admitted = self.identify(namespace, socket, shown).await;
        if let (Err(problem), Some(presented)) = (&admitted, socket.req_parts().extensions.get::<Presented>())
            && problem.code.is_refusal()
        {
            let deed = self.inner.auth.deed(None, presented, &format!("{} connect", namespace.path), namespace.path);
            self.inner.auth.refused(Deed { result: problem.code.as_str().into(), ..deed }).await;
        }
        admitted
    }

    async fn identify(&self, namespace: &Namespace, socket: &SocketRef, shown: Shown) -> Result<(), Problem> {
        if self.inner.stopping.is_cancelled() {
            return Err(Problem::new(Code::Restarting, "the agent is stopping"));
        }
        let told = |problem: Problem| {
            problem.with_hint("send the session's cookie, or a token as `Authorization: Bearer` or as `auth: {token}`")
        };
        let by_unknown_way = || told(Problem::new(Code::NotSignedIn, "you are not signed in"));
        let mut presented =
            socket.req_parts().extensions.get::<Presented>().cloned().ok_or_else(by_unknown_way)?.unsafely();
        if let Some(token) = shown.token {
            presented.authorization = Some(format!("Bearer {token}"));
        }
        let identity = self.inner.auth.identify(&presented, Way::Web).await?;
        let identity = identity.ok_or_else(|| told(presented.nobody()))?;
        authorise(&identity, namespace.scope, &Subject::Own)?;
        // It is told only after this, and may then send more.
        if let Some(seat) = socket.req_parts().extensions.get::<Seat>() {
            seat.leave();
        }
        self.inner.lines.know(socket);
        self.expect(identity, socket);
        Ok(())
    }

    /// Listens to who is being let in: as soon as it reads that it is, it sends events, and what comes before anybody
    /// listens is lost.
    fn expect(&self, identity: Identity, socket: &SocketRef) {
        let address = socket.req_parts().extensions.get().and_then(|presented| self.inner.auth.address(presented));
        let (client, jobs) = Client::new(self.clone(), identity, address);
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        listen_to_all(socket, &client);
        socket.on_disconnect({
            let (this, client) = (self.clone(), client.clone());
            move || {
                client.gone().cancel();
                this.clients(|clients| clients.remove(&id));
                ready(())
            }
        });
        self.inner.tasks.spawn(client.clone().answer(jobs));
        socket.extensions.insert(Expected { id, client });
    }

    fn connected(&self, socket: SocketRef) {
        let Some(Expected { id, client }) = socket.extensions.remove() else { return };
        self.clients(|clients| clients.insert(id, (client.clone(), socket.clone())));
        if client.gone().is_cancelled() {
            self.clients(|clients| clients.remove(&id));
            return;
        }
        // Once more: an upgrade may have been under way.
        self.inner.lines.know(&socket);
        self.inner.came.notify_one();
        client.joined().cancel();
        if socket.ns() == status::NAMESPACE {
            self.inner.streams.spawn(status::show(client, socket));
        }
    }

    fn clients<T>(&self, f: impl FnOnce(&mut HashMap<u64, (Client, SocketRef)>) -> T) -> T {
        f(&mut self.inner.clients.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Feeds the clients and cuts off those whose credential ends, until the agent stops.
    pub async fn run(self) {
        let stopping = self.inner.stopping.clone();
        let feeding = self.inner.feed.run(self.parts());
        let _ = stopping.run_until_cancelled(async { tokio::join!(feeding, self.guard()) }).await;
    }

    async fn guard(&self) {
        let mut events = self.parts().events.subscribe();
        loop {
            let first = self.clients(|all| all.values().filter_map(|(client, _)| client.identity().ends).min());
            tokio::select! {
                event = events.recv() => match event {
                    // A lost event may have been one of those.
                    Ok(Event::Credentials) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                        self.look_again().await;
                    }
                    Ok(_) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                },
                // What it showed may have ended while it was let in.
                () = self.inner.came.notified() => self.look_again().await,
                () = until(first) => self.look_again().await,
            }
        }
    }

    /// Asks of each client whether what it showed is still good.
    async fn look_again(&self) {
        let all: Vec<(u64, (Client, SocketRef))> =
            self.clients(|clients| clients.iter().map(|(id, client)| (*id, client.clone())).collect());
        let mut known: Vec<(Identity, Option<Identity>)> = Vec::new();
        for (id, (client, socket)) in all {
            let identity = client.identity();
            let still = match known.iter().find(|(before, _)| *before == identity) {
                Some((_, still)) => still.clone(),
                None => {
                    // A store that doesn't answer lets nobody stay.
                    let still = self.inner.auth.still(&identity).await.unwrap_or_else(|error| {
                        tracing::error!("can't look a credential up: {}", chain(&error));
                        None
                    });
                    known.push((identity, still.clone()));
                    still
                }
            };
            match still.filter(|identity| identity.ends.is_none_or(|ends| ends > Timestamp::now())) {
                Some(identity) => client.identify(identity),
                None => self.cut(id, &client, socket),
            }
        }
    }

    /// Ends all of a client at once; a moment later its connection too.
    fn cut(&self, id: u64, client: &Client, socket: SocketRef) {
        self.clients(|clients| clients.remove(&id));
        client.gone().cancel();
        tracing::info!(actor = %client.identity().actor, "a connection is cut off: its session or token has ended");
        // With a full buffer it can't be told any more.
        let _ = socket.clone().disconnect();
        let lines = self.inner.lines.clone();
        self.inner.tasks.spawn(async move {
            sleep(FAREWELL).await;
            lines.cut(&socket);
        });
    }

    /// Waits until the streams have said that the agent stops, then closes all connections.
    pub async fn stop(&self) {
        self.inner.streams.close();
        let _ = timeout(STOP, self.inner.streams.wait()).await;
        sleep(FAREWELL).await;
        let _ = timeout(STOP, self.inner.io.close()).await;
    }
}

async fn until(moment: Option<Timestamp>) {
    match moment {
        None => std::future::pending().await,
        Some(moment) => {
            let left = Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or_default();
            sleep(left).await;
        }
    }
}
