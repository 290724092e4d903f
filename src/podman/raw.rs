//! A small client on Podman's socket: one connection a call; dropping the call ends it.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::UnixStream;

use super::{LIMIT, Podman, PodmanError};

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
        let call = async {
            let stream = UnixStream::connect(self.socket.as_path()).await.map_err(|error| unavailable(error.into()))?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| unavailable(error.into()))?;
            let driver = tokio::spawn(connection);
            let exchange = async {
                let response = sender.send_request(request).await.map_err(|error| unavailable(error.into()))?;
                let status = response.status();
                let body = Limited::new(response.into_body(), ANSWER).collect().await.map_err(unavailable)?;
                Ok((status, body.to_bytes()))
            };
            let answer = exchange.await;
            driver.abort();
            answer
        };
        let (status, answer) =
            tokio::time::timeout(LIMIT, call).await.map_err(|_| PodmanError::Unavailable(None))??;
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
}
