//! The one table of events: namespace, event, scope, handler. A test walks it and sees each lock closed.

use super::client::{self, Client};
use super::{log, status, term};
use crate::names::Scope;
use socketioxide::extract::SocketRef;

/// A namespace, and what it takes to connect to it.
#[derive(Debug)]
pub struct Namespace {
    /// Its path.
    pub path: &'static str,
    /// What who connects must at least be allowed, to any one service.
    pub scope: Scope,
}

/// Every namespace.
pub static NAMESPACES: &[Namespace] = &[
    Namespace { path: "/status", scope: Scope::Read },
    Namespace { path: "/log", scope: Scope::Read },
    Namespace { path: "/term", scope: Scope::Admin },
];

/// How an event's handler runs among the others of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As soon as it comes, past all that waits for its turn: it never waits itself, and a stream waits for it.
    AtOnce,
    /// One behind the other, as the client sent them.
    InTurn,
    /// Beside the others, since it may take seconds.
    Beside,
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
    pub order: Order,
    pub(super) listen: fn(&'static Self, &SocketRef, &Client),
}

macro_rules! events {
    ($($namespace:literal $name:literal $scope:ident $order:ident $handler:path,)+) => {
        /// Every event.
        pub static EVENTS: &[Event] = &[$(Event {
            namespace: $namespace,
            name: $name,
            scope: Scope::$scope,
            order: Order::$order,
            listen: |event, socket, client| client::listen(event, socket, client, $handler),
        },)+];
    };
}

events! {
    "/status" "stats" Read InTurn status::stats,

    "/log" "open" Read InTurn log::open,
    "/log" "ack" Read AtOnce log::ack,
    "/log" "close" Read AtOnce log::close,

    "/term" "open" Admin Beside term::open,
    "/term" "list" Admin InTurn term::list,
    "/term" "attach" Admin InTurn term::attach,
    "/term" "input" Admin InTurn term::input,
    "/term" "resize" Admin InTurn term::resize,
    "/term" "ack" Admin AtOnce term::ack,
    "/term" "detach" Admin InTurn term::detach,
    "/term" "close" Admin Beside term::close,
}
