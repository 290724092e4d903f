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

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::service::SocketIoService;
use socketioxide::{ParserConfig, SocketIo, SocketIoBuilder};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use client::{Call, Client, Payload, Subject};
pub use door::Guarded;
pub use lines::Streaming;

use crate::auth::{Auth, Deed, Identity, Presented, Way};
use crate::deploys::Deploys;
use crate::events::Events;
use crate::places::Seat;
use crate::problem::{Code, Problem};
use crate::services::Services;
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

/// What the streams are of.
#[derive(Debug)]
pub struct Uses {
    /// The services.
    pub services: Services,
    /// The deployments.
    pub deploys: Deploys,
    /// The terminals.
    pub terminals: Terminals,
    /// Credentials, and the log of what was done with them.
    pub auth: Auth,
    /// The doorbell.
    pub events: Events,
    /// Cancelled when the agent ends, so that the streams say so.
    pub stopping: CancellationToken,
}

/// Everybody who is connected.
#[derive(Debug, Clone)]
pub struct Sockets {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    io: SocketIo,
    uses: Uses,
    feed: status::Feed,
    /// The streams, which say goodbye when the agent stops.
    streams: TaskTracker,
    /// All other tasks of clients.
    tasks: TaskTracker,
    lines: Lines,
}

/// Who is let in and doesn't know it yet.
#[derive(Debug, Clone)]
struct Expected(Client);

/// What a client may show in its connect packet, where it can't send a header.
#[derive(Debug, Default, Deserialize)]
struct Shown {
    token: Option<String>,
}

impl Sockets {
    /// Puts the streams before `inner`, which answers everything else.
    pub fn mount<S: Clone>(inner: S, uses: Uses) -> (Guarded<Streaming<SocketIoService<S>>>, Self) {
        let (service, io) = protocol().build_with_inner_svc(inner);
        let lines = Lines::new(io.clone());
        let door = Door::new(uses.auth.clone(), lines.clone());
        let sockets = Self {
            inner: Arc::new(Inner {
                io: io.clone(),
                uses,
                feed: status::Feed::default(),
                streams: TaskTracker::new(),
                tasks: TaskTracker::new(),
                lines: lines.clone(),
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

    /// The services.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.inner.uses.services
    }

    /// The deployments.
    #[must_use]
    pub fn deploys(&self) -> &Deploys {
        &self.inner.uses.deploys
    }

    /// Credentials, and the log of what was done with them.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.inner.uses.auth
    }

    /// The terminals.
    #[must_use]
    pub fn terminals(&self) -> &Terminals {
        &self.inner.uses.terminals
    }

    /// Cancelled when the agent stops.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.inner.uses.stopping
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
            let deed =
                self.inner.uses.auth.deed(None, presented, &format!("{} connect", namespace.path), namespace.path);
            self.inner.uses.auth.refused(Deed { result: problem.code.as_str().into(), ..deed }).await;
        }
        admitted
    }

    async fn identify(&self, namespace: &Namespace, socket: &SocketRef, shown: Shown) -> Result<(), Problem> {
        if self.inner.uses.stopping.is_cancelled() {
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
        let identity = self.inner.uses.auth.identify(&presented, Way::Web).await?;
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
        let address = socket.req_parts().extensions.get().and_then(|presented| self.inner.uses.auth.address(presented));
        let stay = self.inner.uses.auth.stay(identity);
        let (client, jobs) = Client::new(self.clone(), stay, address);
        listen_to_all(socket, &client);
        socket.on_disconnect({
            let client = client.clone();
            move || {
                client.gone().cancel();
                ready(())
            }
        });
        self.inner.tasks.spawn(client.clone().answer(jobs));
        socket.extensions.insert(Expected(client));
    }

    fn connected(&self, socket: SocketRef) {
        let Some(Expected(client)) = socket.extensions.remove() else { return };
        if client.gone().is_cancelled() {
            return;
        }
        // Once more: an upgrade may have been under way.
        self.inner.lines.know(&socket);
        client.joined().cancel();
        self.inner.tasks.spawn({
            let (this, client, socket) = (self.clone(), client.clone(), socket.clone());
            async move {
                if client.gone().run_until_cancelled(client.stay().ended()).await.is_some() {
                    this.cut(&client, socket);
                }
            }
        });
        if socket.ns() == status::NAMESPACE {
            self.inner.streams.spawn(status::show(client, socket));
        }
    }

    /// Feeds the clients until the agent stops.
    pub async fn run(self) {
        let stopping = self.inner.uses.stopping.clone();
        let _ = stopping.run_until_cancelled(self.inner.feed.run(&self.inner.uses)).await;
    }

    /// Ends all of a client at once; a moment later its connection too.
    fn cut(&self, client: &Client, socket: SocketRef) {
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
