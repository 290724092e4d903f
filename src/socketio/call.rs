//! An event whose lock was opened, and what its handler makes of it.

use serde::de::DeserializeOwned;
use serde_json::Value;
use socketioxide::extract::SocketRef;

use super::client::{Client, Right, Subject, Work};
use super::state::State;
use crate::problem::Problem;

/// What a client sends with an event.
pub(super) trait Payload: DeserializeOwned + Send + Sync + 'static {
    /// What it is about.
    fn subject(&self, state: &State) -> impl Future<Output = Result<Subject, Problem>> + Send;
}

/// An event whose lock was opened.
#[derive(Debug)]
pub(super) struct Call {
    /// Who sent it.
    pub(super) client: Client,
    /// Where answers go.
    pub(super) socket: SocketRef,
    /// What the event took, and of what.
    pub(super) right: Right,
}

/// What a handler answers.
pub(super) struct Answer {
    pub(super) told: Value,
    pub(super) stream: Option<Work>,
}

impl From<Value> for Answer {
    fn from(told: Value) -> Self {
        Self { told, stream: None }
    }
}

impl Answer {
    /// The answer, and what begins once it is sent: a client must know of its channel before anything comes on it.
    pub(super) fn stream(told: Value, stream: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { told, stream: Some(Box::pin(stream)) }
    }
}
