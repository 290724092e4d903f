//! The REST interface, git and the dashboard over HTTP: hyper carries, tide routes.
//!
//! Each route stands once, in [`table`], with its lock; nothing is authorised anywhere else. What is below the table is
//! handed it.

mod access;
mod body;
mod bridge;
mod call;
mod connection_stream;
mod endpoint;
mod extract;
mod gate;
mod headers;
mod linger;
mod openapi;
mod record;
mod request;
mod respond;
mod route;
mod routes;
mod server;
mod sockets;
mod spool;
mod state;
mod stream;
pub mod table;
mod unattended;
mod unmatched;

pub use body::BodyError;
pub use bridge::{AnswerBody, Bridge};
pub use linger::RequestBody;
pub use route::{Lock, Route};
pub use server::Server;
pub use sockets::Listeners;
pub use state::{State, Uses};

use endpoint::Endpoint;
use headers::Headers;
use route::Table;
use unmatched::Unmatched;

/// What the handlers share. Streams end when `uses.stopping` is cancelled.
#[must_use]
pub fn state(uses: Uses) -> State {
    State::new(uses, Table(table::ROUTES))
}

/// tide with all routes.
#[must_use]
pub fn app(state: State) -> tide::Server<State> {
    let mut app = tide::with_state(state);
    for (route, handler) in table::answered() {
        app.at(route.path).method(route.method, Endpoint { route, handler });
    }
    app.with(Headers);
    app.with(Unmatched);
    app
}
