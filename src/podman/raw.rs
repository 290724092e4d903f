//! A small client on Podman's socket: one connection a call; dropping the call ends it.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::client::LIMIT;
use super::{Podman, PodmanError, Refusal};
use crate::exchange::{self, ExchangeError};

/// The largest answer that is read.
const ANSWER: usize = 16 * 1024 * 1024;

/// Everything but what RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` as one segment of a path, or one value of a query.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// What a call sends.
pub(super) enum Body<'a> {
    None,
    Json(&'a serde_json::Value),
    /// The value as it is: podman-api would put it in quotes.
    Secret(&'a SecretString),
}

impl Podman {
    /// One call; `path` begins behind the version. The answer is its body.
    pub(super) async fn raw(
        &self,
        what: &'static str,
        method: Method,
        path: &str,
        body: Body<'_>,
    ) -> Result<Bytes, PodmanError> {
        let unavailable = |error: Box<dyn std::error::Error + Send + Sync>| PodmanError::Unavailable(Some(error));
        let request = Request::builder()
            .method(method)
            // Podman 4, 5 and 6 all serve this version.
            .uri(format!("/v4.3.1{path}"))
            .header(header::HOST, "podman");
        let (kind, bytes) = match body {
            Body::None => ("application/json", Bytes::new()),
            Body::Json(value) => ("application/json", Bytes::from(value.to_string())),
            Body::Secret(value) => {
                // With a form's type Podman would read no byte of it.
                ("application/octet-stream", Bytes::copy_from_slice(value.expose_secret().as_bytes()))
            }
        };
        let request = request
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(bytes))
            .map_err(|error| unavailable(error.into()))?;
        let end = Instant::now() + LIMIT;
        let failed = |error| match error {
            ExchangeError::Late => PodmanError::Unavailable(None),
            error => unavailable(error.into()),
        };
        let stream = UnixStream::connect(self.socket.as_path()).await.map_err(|error| unavailable(error.into()))?;
        let reply = exchange::ask(stream, request, end).await.map_err(failed)?;
        let status = reply.status();
        let answer = reply.whole(ANSWER, end).await.map_err(failed)?;
        if status.is_success() || status.as_u16() == 304 {
            return Ok(answer);
        }
        let message = serde_json::from_slice::<serde_json::Value>(&answer)
            .ok()
            .and_then(|error| {
                let cause = error.get("cause").and_then(|cause| cause.as_str()).map(|cause| format!("{cause}: "));
                Some(cause.unwrap_or_default() + error.get("message")?.as_str()?)
            })
            .unwrap_or_default();
        Err(PodmanError::refused(what, status.as_u16(), message))
    }

    /// Deletes what `path` names. What isn't there is fine.
    pub(super) async fn delete(&self, what: &'static str, path: &str) -> Result<(), PodmanError> {
        match self.raw(what, Method::DELETE, path, Body::None).await {
            Err(PodmanError::Refused { why: Refusal::NotFound, .. }) => Ok(()),
            other => other.map(drop),
        }
    }
}
