//! What one request may take.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::Deserialize;

use super::values::duration;

/// What one request may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest body of an ordinary request, in KiB.
    pub body_kib: u64,
    /// How long a client may take to send a request's head.
    #[serde(deserialize_with = "duration")]
    pub head_timeout: Duration,
    /// How long a client may send nothing in the middle of a body, and how long all its silences together may be, beside
    /// what `body_rate_kib` gives.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// How many KiB of a body are worth a second of waiting for more of it.
    pub body_rate_kib: NonZeroU64,
    /// How long a client may take nothing of what it is sent.
    #[serde(deserialize_with = "duration")]
    pub unread: Duration,
    /// How long requests and transfers go on when the agent stops.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
    /// How long journald may take to write the last line of what has ended.
    #[serde(deserialize_with = "duration")]
    pub journal: Duration,
    /// How many connections at once, on each listening socket.
    pub connections: u32,
    /// How many of them at once by which nobody has signed in, from all addresses.
    pub anonymous: u32,
    /// The same from one address.
    pub anonymous_each: u32,
    /// How many connects of Socket.IO from one address, a second.
    pub handshakes: NonZeroU32,
    /// How many wrong keys or passwords from one address, a minute.
    pub guesses: NonZeroU32,
    /// How many rows of what was done the audit log keeps; of what was refused it keeps a tenth of that.
    pub audit_rows: u32,
    /// How old a row of the audit log becomes.
    #[serde(deserialize_with = "duration")]
    pub audit_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_kib: 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            body_rate_kib: NonZeroU64::MIN.saturating_add(3),
            unread: Duration::from_secs(15),
            grace: Duration::from_millis(4500),
            journal: Duration::from_secs(10),
            connections: 1024,
            anonymous: 256,
            anonymous_each: 64,
            handshakes: NonZeroU32::MIN.saturating_add(49),
            guesses: NonZeroU32::MIN.saturating_add(19),
            audit_rows: 100_000,
            audit_age: Duration::from_secs(2 * 365 * 24 * 3600),
        }
    }
}
