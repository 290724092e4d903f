//! Accepts connections, bounded in number, and lets them end in their time when the agent stops.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Pace;
use super::connection_stream::ConnectionStream;
use super::gate::{self, Gate};
use super::linger::RequestBody;
use super::sockets::Listeners;
use crate::auth::{Peer, Presented};
use crate::config::LiveConfig;
use crate::connection::Connection;
use crate::permits::{Permit, Permits, SharedPermit};
use crate::problem::Problem;

/// How many bytes the kernel takes for a client that can't be sent any more yet. It would take megabytes, and all that
/// waits there is old when it is read.
const UNSENT: u32 = 16 * 1024;
/// The longest head of a request, in bytes: its line and all its headers. A connection buffers no more of a body either.
const HEAD: usize = 32 * 1024;
/// How many headers it may have.
const HEADERS: usize = 100;
/// How long a client that has just connected may take to ask for something when the agent stops.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// After an error such as "too many open files".
const BREATH: Duration = Duration::from_millis(50);

/// The server.
#[derive(Clone)]
pub struct Server<S> {
    service: S,
    config: LiveConfig,
    stopping: CancellationToken,
    connections: TaskTracker,
    gate: Gate,
}

impl<S, B> Server<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Problem> + Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A server of `service`, whose error is the problem that is answered. It ends when `stopping` is cancelled.
    #[must_use]
    pub fn new(service: S, config: LiveConfig, stopping: CancellationToken) -> Self {
        Self { service, config, stopping, connections: TaskTracker::new(), gate: Gate::default() }
    }

    /// Serves until the agent stops, then waits at most `limits.grace` for what is under way.
    pub async fn run(self, listeners: Listeners) {
        // A push that is still taken ends with git's hook, which asks over the unix socket: that goes last.
        let last = CancellationToken::new();
        let local = Self { stopping: last.clone(), connections: TaskTracker::new(), ..self.clone() };
        let (accepting, accepting_local) = (TaskTracker::new(), TaskTracker::new());
        let limits = self.config.get().limits.clone();
        let anonymous = Permits::new(limits.anonymous as usize, limits.anonymous_each as usize);
        for listener in listeners.web {
            accepting.spawn(self.clone().accept_web(listener, anonymous.clone()));
        }
        for listener in listeners.local {
            accepting_local.spawn(local.clone().accept_local(listener));
        }
        accepting.close();
        accepting_local.close();
        self.stopping.cancelled().await;
        let end = tokio::time::Instant::now() + self.config.get().limits.grace;
        accepting.wait().await;
        self.connections.close();
        let ended = tokio::time::timeout_at(end, self.connections.wait()).await;
        last.cancel();
        accepting_local.wait().await;
        local.connections.close();
        if ended.is_err() || tokio::time::timeout_at(end, local.connections.wait()).await.is_err() {
            tracing::info!("{} connections are cut off", self.connections.len() + local.connections.len());
        }
    }

    async fn accept_web(self, listener: TcpListener, anonymous: Permits) {
        let places = self.places();
        let accept = || async {
            let place = anonymous.next().await;
            (place, listener.accept().await)
        };
        while let Some((place, (stranger, accepted))) = self.next(&places, accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    let Some(permit) = stranger.and_then(|stranger| self.permit(&anonymous, stranger, peer)) else {
                        tracing::debug!("a connection is closed: {} has too many", peer.ip());
                        continue;
                    };
                    let _ = stream.set_nodelay(true);
                    let socket = SockRef::from(&stream);
                    // A client that takes nothing for so long is gone, whatever is queued for it.
                    let _ = socket.set_tcp_user_timeout(Some(self.config.get().limits.unread));
                    let _ = socket.set_tcp_notsent_lowat(UNSENT);
                    self.serve(stream, Peer::Network(peer.ip().to_canonical()), place, permit);
                }
                Err(error) => self.rest(&error).await,
            }
        }
    }

    async fn accept_local(self, listener: UnixListener) {
        let places = self.places();
        while let Some((place, accepted)) = self.next(&places, listener.accept()).await {
            match accepted {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) => {
                        let peer = Peer::Local { uid: peer.uid(), gid: peer.gid() };
                        self.serve(stream, peer, place, SharedPermit::default());
                    }
                    Err(error) => self.rest(&error).await,
                },
                Err(error) => self.rest(&error).await,
            }
        }
    }

    /// What one listener's connections take: a full web port never shuts out the command line and git's hooks.
    fn places(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.config.get().limits.connections as usize))
    }

    /// The permit that a connection from `peer` has until it is known whose it is; none where that address has all it may.
    /// Behind a trusted proxy everybody comes from its address.
    fn permit(&self, anonymous: &Permits, place: Permit, peer: SocketAddr) -> Option<SharedPermit> {
        let address = peer.ip().to_canonical();
        let proxy = self.config.get().listen.trusted_proxies.contains(&address);
        let place = anonymous.give(place, (!proxy).then_some(address)).ok()?;
        Some(SharedPermit::new(Some(place)))
    }

    /// The next connection, once there is a place for it. Until then it waits in the backlog, and when the agent stops
    /// it waits there for the next agent.
    async fn next<T>(
        &self,
        places: &Arc<Semaphore>,
        accept: impl Future<Output = T>,
    ) -> Option<(OwnedSemaphorePermit, T)> {
        let next = async {
            // Never closed.
            let place = places.clone().acquire_owned().await.ok()?;
            Some((place, accept.await))
        };
        self.stopping.run_until_cancelled(next).await?
    }

    async fn rest(&self, error: &std::io::Error) {
        tracing::warn!("can't accept a connection: {error}");
        tokio::time::sleep(BREATH).await;
    }

    /// Serves one connection in a task of its own.
    fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
        place: OwnedSemaphorePermit,
        permit: SharedPermit,
    ) {
        let service = self.service.clone();
        let (config, gate) = (self.config.clone(), self.gate.clone());
        let connection = Connection::new(permit);
        let stream = ConnectionStream::new(stream, connection.clone(), place);
        let asked = CancellationToken::new();
        let service = service_fn({
            let asked = asked.clone();
            move |mut request: Request<Incoming>| {
                asked.cancel();
                let presented = Presented::read(&request, peer);
                request.extensions_mut().insert(presented);
                request.extensions_mut().insert(connection.clone());
                let pace = Pace::of(&config.get().limits);
                gate::pass(gate.clone(), service.clone(), request, pace)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.config.get().limits.head_timeout);
        builder.max_header_size(HEAD).max_headers(HEADERS).max_buf_size(HEAD);
        let stopping = self.stopping.clone();
        self.connections.spawn(async move {
            let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = stopping.cancelled() => {
                    // The request under way is answered, and the one that is just coming on a new connection, which
                    // hyper would drop; the next one goes to the next agent.
                    tokio::select! {
                        ended = &mut connection => ended,
                        _ = tokio::time::timeout(FIRST_REQUEST, asked.cancelled()) => {
                            connection.as_mut().graceful_shutdown();
                            connection.await
                        }
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
}
