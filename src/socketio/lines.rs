//! Which connection carries a client: one whose credential ended is cut and not only told, and one that is full is not
//! given what will be old when it is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, Either};
use futures_util::{FutureExt, TryFutureExt};
use http::{Request, Response, StatusCode};
use hyper::service::Service;
use socketioxide::SocketIo;
use socketioxide::extract::SocketRef;

use crate::connection::Connection;

/// What the query of a WebSocket's request holds.
pub(super) const WEBSOCKET: &str = "transport=websocket";

/// The connections of clients that began with polling and upgraded. The others are in their own handshake's request.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    io: SocketIo,
    /// The paths of all namespaces.
    namespaces: Arc<[&'static str]>,
    upgraded: Arc<Mutex<HashMap<String, Connection>>>,
}

impl Lines {
    pub(super) fn new(io: SocketIo, namespaces: impl IntoIterator<Item = &'static str>) -> Self {
        Self { io, namespaces: namespaces.into_iter().collect(), upgraded: Arc::default() }
    }

    /// Whether a session has joined a namespace, which takes a credential.
    pub(super) fn has_joined(&self, sid: &str) -> bool {
        let Ok(sid) = sid.parse() else { return false };
        self.namespaces.iter().any(|namespace| self.io.of(*namespace).is_some_and(|all| all.get_socket(sid).is_some()))
    }

    /// Remembers the connection of an upgrade for as long as it lasts. It carries nothing else after that, so there is
    /// at most one of a connection.
    fn note(&self, sid: String, line: Connection) {
        let upgraded = self.upgraded.clone();
        upgraded.lock().unwrap_or_else(PoisonError::into_inner).insert(sid.clone(), line.clone());
        // It may have joined while it was upgraded. What joins from now on finds its connection here.
        if self.has_joined(&sid) {
            line.know();
        }
        tokio::spawn(async move {
            line.ended().cancelled().await;
            upgraded.lock().unwrap_or_else(PoisonError::into_inner).remove(&sid);
        });
    }

    /// Cuts the connection of `socket`.
    pub(super) fn cut(&self, socket: &SocketRef) {
        for line in self.of(socket) {
            line.ended().cancel();
        }
    }

    /// Says of the WebSockets of `socket` that they are no stranger's. The connection of a poll may be a proxy's.
    pub(super) fn know(&self, socket: &SocketRef) {
        let parts = socket.req_parts();
        let polls = !parts.uri.query().is_some_and(|query| query.contains(WEBSOCKET));
        self.of(socket).skip(usize::from(polls)).for_each(|line| line.know());
    }

    /// Whether what was written last to `socket` waits for being read. Between two polls nothing does.
    pub(super) fn is_full(&self, socket: &SocketRef) -> bool {
        self.of(socket).any(|line| line.is_full())
    }

    fn of(&self, socket: &SocketRef) -> impl Iterator<Item = Connection> {
        // Every request comes on one.
        let began = socket.req_parts().extensions.get::<Connection>().cloned();
        let upgraded =
            self.upgraded.lock().unwrap_or_else(PoisonError::into_inner).get(&socket.id.to_string()).cloned();
        began.into_iter().chain(upgraded)
    }
}

/// Who asks for an upgrade, and on which connection.
fn upgrade<B>(request: &Request<B>) -> Option<(String, Connection)> {
    if !request.uri().path().starts_with(super::PATH) {
        return None;
    }
    let query = request.uri().query().filter(|query| query.contains(WEBSOCKET))?;
    let sid = query.split('&').find_map(|pair| pair.strip_prefix("sid="))?;
    Some((sid.to_owned(), request.extensions().get::<Connection>()?.clone()))
}

/// A service that streams, and remembers which connection carries whom.
#[derive(Clone)]
pub struct Streaming<S> {
    pub(super) service: S,
    pub(super) lines: Lines,
}

impl<S, B, A> Service<Request<B>> for Streaming<S>
where
    S: Service<Request<B>, Response = Response<A>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, S::Error>>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let upgrade = upgrade(&request);
        let answer = self.service.call(request);
        let Some((sid, line)) = upgrade else { return Either::Left(answer) };
        let lines = self.lines.clone();
        let noted = answer.inspect_ok(move |answer| {
            // Whoever only asks is not remembered.
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                lines.note(sid, line);
            }
        });
        Either::Right(noted.boxed())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::service::service_fn;

    use super::*;

    #[tokio::test]
    async fn only_who_was_upgraded_is_remembered_and_only_for_as_long() {
        let (_, io) = SocketIo::new_svc();
        let lines = Lines::new(io, []);
        let service = Streaming {
            service: service_fn(|request: Request<String>| async move {
                let known = request.uri().query().is_some_and(|query| query.contains("sid=known"));
                let status = if known { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::BAD_REQUEST };
                Ok::<_, Infallible>(Response::builder().status(status).body(String::new()).unwrap())
            }),
            lines: lines.clone(),
        };
        let remembered = || lines.upgraded.lock().unwrap().keys().cloned().collect::<Vec<_>>();
        let connection = Connection::default();
        let ask = async |sid: &str| {
            let uri = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
            let request = Request::builder().uri(uri).extension(connection.clone()).body(String::new()).unwrap();
            service.call(request).await.unwrap();
        };
        for number in 0..100 {
            ask(&format!("invented-{number}")).await;
        }
        assert!(remembered().is_empty());
        ask("known").await;
        assert_eq!(remembered(), ["known"]);
        connection.ended().cancel();
        while !remembered().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
