//! The one table of events: namespace, event, scope, handler. A test walks it and sees each lock closed.

use super::dispatch;
use super::event::{Event, Namespace, Order};
use super::{log, status, term};
use crate::names::Scope;

/// Every namespace.
pub static NAMESPACES: &[Namespace] = &[
    Namespace {
        path: "/status",
        scope: Scope::Read,
        begin: Some(|client, socket| Box::pin(status::show(client, socket))),
    },
    Namespace { path: "/log", scope: Scope::Read, begin: None },
    Namespace { path: "/term", scope: Scope::Admin, begin: None },
];

macro_rules! events {
    ($($namespace:literal $name:literal $scope:ident $order:ident $handler:path,)+) => {
        /// Every event.
        pub static EVENTS: &[Event] = &[$(Event {
            namespace: $namespace,
            name: $name,
            scope: Scope::$scope,
            order: Order::$order,
            listen: |event, socket, client| dispatch::listen(event, socket, client, $handler),
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
