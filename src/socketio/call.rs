//! An event whose lock was opened, and what its handler makes of it.

use std::pin::Pin;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;
use socketioxide::extract::SocketRef;

use super::channel::Channel;
use super::client::{Client, RequiredScope, Work};
use super::life::{End, Source, live};
use super::subject::About;
use crate::decode::{self, DecodeError};
use crate::problem::Problem;

/// What a client sends with an event.
pub(super) trait Payload: DeserializeOwned + Send + Sync + 'static {
    /// What it is about.
    fn about(&self) -> Result<About, Problem>;

    /// Reads it. What has bytes reads them where they are, and can't tell why it is none.
    fn receive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Result<Self, DecodeError>, D::Error> {
        Value::deserialize(deserializer).map(decode::read)
    }
}

/// What was sent: a payload, or why it is none.
pub(super) struct Sent<T>(pub(super) Result<T, DecodeError>);

impl<'de, T: Payload> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::receive(deserializer).map(Self)
    }
}

/// An event whose lock was opened.
#[derive(Debug)]
pub(super) struct Call {
    /// Who sent it.
    pub(super) client: Client,
    /// Where answers go.
    pub(super) socket: SocketRef,
}

/// What a handler answers.
pub(super) struct Answer {
    pub(super) told: Value,
    pub(super) stream: Option<Box<dyn FnOnce(Client, RequiredScope) -> Work + Send>>,
    pub(super) note: Note,
}

/// What a handler adds to the record of its event.
#[derive(Default)]
pub(super) struct Note {
    /// What more there is to say.
    pub(super) detail: Option<String>,
    /// Nothing was changed, so that there is nothing to record.
    pub(super) unchanged: bool,
    /// How what was opened ends; neither with a problem nor with a code where somebody closed it, which is recorded then.
    pub(super) end: Option<Pin<Box<dyn Future<Output = End> + Send>>>,
}

impl From<Value> for Answer {
    fn from(told: Value) -> Self {
        Self { told, stream: None, note: Note::default() }
    }
}

impl Answer {
    /// The answer, and the stream that begins once it is sent: a client must know of its channel before anything comes on
    /// it.
    pub(super) fn stream(told: Value, channel: Channel, source: impl Source) -> Self {
        let begin = move |client, right| -> Work { Box::pin(live(client, Some(right), channel, source)) };
        Self { stream: Some(Box::new(begin)), ..Self::from(told) }
    }

    /// The same, with what is recorded of it.
    pub(super) fn noted(self, note: Note) -> Self {
        Self { note, ..self }
    }
}
