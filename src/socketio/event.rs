//! What the table of events is made of.

use socketioxide::extract::SocketRef;

use super::client::{Client, Work};
use crate::names::Scope;

/// A namespace, and what it takes to connect to it.
pub struct Namespace {
    /// Its path.
    pub path: &'static str,
    /// What who connects must at least be allowed, to any one service.
    pub scope: Scope,
    /// The stream that begins with the connection, where one does.
    pub(super) begin: Option<fn(Client, SocketRef) -> Work>,
}

/// How an event's handler runs among the others of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// As soon as it comes, past all that waits for its turn: it never waits itself, and a stream waits for it.
    AtOnce,
    /// One behind the other, as the client sent them.
    InTurn,
    /// Beside the others, since it may take seconds.
    Beside,
}

/// What the audit log is told of an event, beside each refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// Nothing: it changes nothing, or is a part of what is recorded.
    Nothing,
    /// What it did, or why it could not.
    AuditEvent,
    /// The same, and later how what it opened ended, as the namespace's `close`.
    Life,
}

/// An event that clients may send.
pub struct Event {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub scope: Scope,
    /// How its handler runs.
    pub order: Scheduling,
    /// What is recorded of it.
    pub record: Record,
    pub(super) listen: fn(&'static Self, &SocketRef, &Client),
}

/// Every namespace and every event, as what is below the handlers is handed them.
#[derive(Clone, Copy)]
pub(super) struct Table {
    pub(super) namespaces: &'static [Namespace],
    pub(super) events: &'static [Event],
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}
