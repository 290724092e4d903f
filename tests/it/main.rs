//! One integration binary: the serving stack and the interface, without a host.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that can't go on fails")]

mod access;
mod bridge;
mod command_line;
mod credentials;
mod dashboard;
mod deployments;
mod faults;
mod fetch;
mod health_check;
mod hermetic;
mod hooks;
mod host;
mod images;
mod imports;
mod killed;
mod layers;
mod orders;
mod parsers;
mod passkeys;
mod push_answers;
mod pushes;
mod repositories;
mod routes;
mod running;
mod security;
mod sockets;
mod sources;
mod stories;
mod streams;
mod support;
mod upgrades;
mod whole;
