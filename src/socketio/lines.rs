//! Which connection carries a client, so that one whose credential ended can be cut and not only be told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use hyper::service::Service;
use socketioxide::extract::SocketRef;
use tokio_util::sync::CancellationToken;

/// The connections of clients that began with polling and upgraded. The others are in their own handshake's request.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    upgraded: Arc<Mutex<HashMap<String, CancellationToken>>>,
}

impl Lines {
    /// Remembers the connection of an upgrade for as long as it lasts.
    fn note<B>(&self, request: &Request<B>) {
        let Some(query) = request.uri().query().filter(|query| query.contains("transport=websocket")) else { return };
        let Some(sid) = query.split('&').find_map(|pair| pair.strip_prefix("sid=")) else { return };
        let Some(line) = request.extensions().get::<CancellationToken>().cloned() else { return };
        let (upgraded, sid) = (self.upgraded.clone(), sid.to_owned());
        upgraded.lock().unwrap_or_else(PoisonError::into_inner).insert(sid.clone(), line.clone());
        tokio::spawn(async move {
            line.cancelled().await;
            upgraded.lock().unwrap_or_else(PoisonError::into_inner).remove(&sid);
        });
    }

    /// Cuts the connection of `socket`.
    pub(super) fn cut(&self, socket: &SocketRef) {
        if let Some(line) = socket.req_parts().extensions.get::<CancellationToken>() {
            line.cancel();
        }
        let upgraded = self.upgraded.lock().unwrap_or_else(PoisonError::into_inner).remove(&socket.id.to_string());
        if let Some(line) = upgraded {
            line.cancel();
        }
    }
}

/// A service that streams, and remembers which connection carries whom.
#[derive(Clone)]
pub struct Streaming<S> {
    pub(super) service: S,
    pub(super) lines: Lines,
}

impl<S, B> Service<Request<B>> for Streaming<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, request: Request<B>) -> S::Future {
        if request.uri().path().starts_with(super::PATH) {
            self.lines.note(&request);
        }
        self.service.call(request)
    }
}
