//! Asks the agent over its unix socket.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;

/// How long the agent may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest answer.
const ANSWER: usize = 4 * 1024 * 1024;

/// Why the agent gave no good answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens, or we may not.
    #[error("can't reach the agent at {socket}; run this as root, and see `systemctl status podkeeper`")]
    Connect {
        /// The socket.
        socket: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the agent gave no answer")]
    Broken,
    /// The agent said no.
    #[error("{0}")]
    Refused(String),
}

/// One call; null where the answer has no body.
pub fn call(socket: &Path, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|_| ClientError::Broken)?;
    let asked = async { tokio::time::timeout(LIMIT, ask(socket, method, path, body)).await };
    runtime.block_on(asked).unwrap_or(Err(ClientError::Broken))
}

async fn ask(socket: &Path, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| ClientError::Connect { socket: socket.display().to_string(), source })?;
    let broken = |_| ClientError::Broken;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.map_or_else(String::new, Value::to_string))))
        .map_err(|_| ClientError::Broken)?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), ANSWER).collect().await.map_err(|_| ClientError::Broken)?.to_bytes();
    driver.abort();
    let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(value);
    }
    let mut told = value["detail"].as_str().unwrap_or("the agent refused").to_owned();
    if let Some(hint) = value["hint"].as_str() {
        told.push_str("; ");
        told.push_str(hint);
    }
    Err(ClientError::Refused(told))
}
