//! The streams of the interface over Socket.IO: how the services are, their log lines, terminals. socketioxide speaks
//! the protocol; here is who may connect, what each event does and how a stream lives.
//!
//! Each event stands once, in [`table`], with what it takes; nothing is authorised anywhere else. What is below the
//! table is handed it.

mod admission;
mod call;
mod channel;
mod client;
mod dispatch;
mod event;
mod feed;
mod left;
mod life;
mod lines;
mod log;
mod protocol;
mod record;
mod sockets;
mod state;
mod status;
mod subject;
pub mod table;
mod term;
mod uses;

use socketioxide::service::SocketIoService;

pub use admission::AdmissionService;
pub use event::{Event, Namespace, Record, Scheduling};
pub use lines::Streaming;
pub use protocol::{PATH, protocol};
pub use sockets::Sockets;
pub use uses::Uses;

use event::Table;

/// Puts the streams before `inner`, which answers everything else.
pub fn mount<S: Clone>(inner: S, uses: Uses) -> (AdmissionService<Streaming<SocketIoService<S>>>, Sockets) {
    Sockets::mount(inner, uses, Table { namespaces: table::NAMESPACES, events: table::EVENTS })
}
