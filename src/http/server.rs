//! Accepts connections, bounded in number, and lets them end in their time when the agent stops.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Listeners;
use super::line::Line;
use crate::auth::{Peer, Presented};
use crate::config::Limits;

/// A client that takes nothing for so long is gone, whatever is queued for it.
const USER_TIMEOUT_MS: u32 = 15_000;
/// After an error such as "too many open files".
const BREATH: Duration = Duration::from_millis(50);

/// The server.
#[derive(Clone)]
pub struct Server<S> {
    service: S,
    limits: Limits,
    places: Arc<Semaphore>,
    stopping: CancellationToken,
    connections: TaskTracker,
}

impl<S, B> Server<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A server of `service`. It ends when `stopping` is cancelled.
    #[must_use]
    pub fn new(service: S, limits: Limits, stopping: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections as usize));
        Self { service, limits, places, stopping, connections: TaskTracker::new() }
    }

    /// Serves until the agent stops, then waits at most `grace` for what is under way.
    pub async fn run(self, listeners: Listeners, grace: Duration) {
        let accepting = TaskTracker::new();
        for listener in listeners.web {
            accepting.spawn(self.clone().accept_web(listener));
        }
        for listener in listeners.local {
            accepting.spawn(self.clone().accept_local(listener));
        }
        accepting.close();
        accepting.wait().await;
        self.connections.close();
        if tokio::time::timeout(grace, self.connections.wait()).await.is_err() {
            tracing::info!("{} connections are cut off", self.connections.len());
        }
    }

    async fn accept_web(self, listener: TcpListener) {
        while let Some(accepted) = self.stopping.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let _ = nix::sys::socket::setsockopt(
                        &stream,
                        nix::sys::socket::sockopt::TcpUserTimeout,
                        &USER_TIMEOUT_MS,
                    );
                    self.serve(stream, Peer::Network(peer.ip().to_canonical())).await;
                }
                Err(error) => self.rest(&error).await,
            }
        }
    }

    async fn accept_local(self, listener: UnixListener) {
        while let Some(accepted) = self.stopping.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) => self.serve(stream, Peer::Local { uid: peer.uid(), gid: peer.gid() }).await,
                    Err(error) => self.rest(&error).await,
                },
                Err(error) => self.rest(&error).await,
            }
        }
    }

    async fn rest(&self, error: &std::io::Error) {
        tracing::warn!("can't accept a connection: {error}");
        tokio::time::sleep(BREATH).await;
    }

    /// Serves one connection in a task of its own. While all places are taken the next one waits in the backlog.
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer) {
        let place = self.stopping.run_until_cancelled(self.places.clone().acquire_owned()).await;
        let Some(Ok(place)) = place else { return };
        let service = self.service.clone();
        let cut = CancellationToken::new();
        let stream = Line::new(stream, cut.clone(), place);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let presented = Presented::read(&request, peer);
            request.extensions_mut().insert(presented);
            request.extensions_mut().insert(cut.clone());
            Service::call(&service, request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.head_timeout);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30)));
        let stopping = self.stopping.clone();
        self.connections.spawn(async move {
            let graceful = GracefulShutdown::new();
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
            let connection = graceful.watch(connection);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = stopping.cancelled() => {
                    // The request under way is answered; the next one goes to the next agent.
                    let shut = tokio::spawn(graceful.shutdown());
                    let ended = connection.await;
                    shut.abort();
                    ended
                }
            };
            if let Err(error) = ended {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
}
