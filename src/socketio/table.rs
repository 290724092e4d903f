//! The one table of events: namespace, event, scope, order, what is recorded, handler. A test walks it and sees each lock closed.

use super::dispatch;
use super::event::{Event, Namespace, Record, Scheduling};
use super::{log, status, term};
use crate::names::Scope;

/// Every namespace.
pub static NAMESPACES: &[Namespace] = &[
    Namespace { path: "/status", scope: Scope::Read, begin: Some(status::begin) },
    Namespace { path: "/log", scope: Scope::Read, begin: None },
    Namespace { path: "/term", scope: Scope::Admin, begin: None },
];

macro_rules! events {
    ($($namespace:literal $name:literal $scope:ident $order:ident $record:ident $handler:path,)+) => {
        /// Every event.
        pub static EVENTS: &[Event] = &[$(Event {
            namespace: $namespace,
            name: $name,
            scope: Scope::$scope,
            order: Scheduling::$order,
            record: Record::$record,
            listen: |event, socket, client| dispatch::listen(event, socket, client, $handler),
        },)+];
    };
}

events! {
    "/status" "stats" Read InTurn Nothing status::stats,

    "/log" "open" Read InTurn Nothing log::open,
    "/log" "ack" Read AtOnce Nothing log::ack,
    "/log" "close" Read AtOnce Nothing log::close,

    "/term" "open" Admin Beside Life term::open,
    "/term" "list" Admin InTurn Nothing term::list,
    "/term" "attach" Admin InTurn Nothing term::attach,
    "/term" "input" Admin InTurn Nothing term::input,
    "/term" "resize" Admin InTurn Nothing term::resize,
    "/term" "ack" Admin AtOnce Nothing term::ack,
    "/term" "detach" Admin InTurn Nothing term::detach,
    "/term" "close" Admin Beside AuditEvent term::close,
}
