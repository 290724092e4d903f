//! The protocol's settings.

use std::time::Duration;

use socketioxide::{ParserConfig, SocketIo, SocketIoBuilder};

use super::channel::BUFFER;

/// Where clients connect.
pub const PATH: &str = "/socket.io";
/// How often a client is asked whether it lives, and how long it may take to say so: one that vanished is gone after
/// both.
const PING: Duration = Duration::from_secs(10);
/// How long somebody who connected may take to join a namespace. A session is gone after that, abandoned or not.
pub(super) const JOIN: Duration = Duration::from_secs(5);
/// The largest message from a client.
pub(super) const PAYLOAD: usize = 1 << 20;

/// The protocol's settings.
#[must_use]
pub fn protocol() -> SocketIoBuilder {
    SocketIo::builder()
        .req_path(PATH)
        .ping_interval(PING)
        .ping_timeout(PING)
        .connect_timeout(JOIN)
        .max_buffer_size(BUFFER)
        .max_payload(PAYLOAD as u64)
        .ws_max_message_size(PAYLOAD)
        .ws_max_frame_size(PAYLOAD)
        .ws_read_buffer_size(4096)
        .with_parser(ParserConfig::common().max_incoming_binaries(8).max_incoming_binary_buf_size(PAYLOAD))
}
