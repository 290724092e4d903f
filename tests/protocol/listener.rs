//! A listener for the published test suites of Engine.IO v4 and Socket.IO v5 on the agent's own serving stack: its
//! server, its settings of the protocol, with the short intervals that the suites expect.
//!
//! `cargo run --example listener`, then `npm install && npm test` in the folder `test-suite` of each of
//! <https://github.com/socketio/engine.io-protocol> and <https://github.com/socketio/socket.io-protocol>. It ends by
//! itself after ten minutes.
//!
//! engineioxide sends its first ping at once and not after the first interval, which the suites take for the packet that
//! they wait for; its own copies of them (`e2e` in <https://github.com/totodore/socketioxide>) expect it.

#![allow(clippy::print_stdout, reason = "a program that is run by hand says where it listens")]

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engineioxide::config::EngineIoConfig;
use engineioxide::handler::EngineIoHandler;
use engineioxide::service::EngineIoService;
use engineioxide::socket::{DisconnectReason, Socket};
use engineioxide::{Str, service::NotFoundService};
use podkeeper::config::{Config, LiveConfig};
use podkeeper::http::{Listeners, Server};
use podkeeper::socketio::protocol;
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use socketioxide::extract::{AckSender, Data, SocketRef, TryData};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the suites expect.
const ADDRESS: &str = "127.0.0.1:3000";
const PING_INTERVAL: Duration = Duration::from_millis(300);
const PING_TIMEOUT: Duration = Duration::from_millis(200);
const PAYLOAD: usize = 1_000_000;

/// How long somebody who connected may take to join a namespace.
const JOIN: Duration = Duration::from_secs(1);
/// What lies between two packets that the suite waits for one after the other.
const MOMENT: Duration = Duration::from_millis(20);
/// The most arguments that an event of the suite has.
const MOST: usize = 3;
/// How long it listens.
const LIFE: Duration = Duration::from_secs(600);

/// One argument of an event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Argument {
    Json(Value),
    Binary(Bytes),
}

/// All arguments of an event, however many. The parser takes only tuples for more than one argument.
#[derive(Debug)]
struct Arguments(Vec<Argument>);

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for argument in &self.0 {
            tuple.serialize_element(argument)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(MOST, ArgumentsVisitor)
    }
}

struct ArgumentsVisitor;

impl<'de> Visitor<'de> for ArgumentsVisitor {
    type Value = Arguments;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments of an event")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Arguments, A::Error> {
        let mut arguments = Vec::new();
        while let Some(argument) = seq.next_element()? {
            arguments.push(argument);
        }
        Ok(Arguments(arguments))
    }
}

/// Says again whatever comes, for the suite of Engine.IO.
#[derive(Debug)]
struct Echo;

impl EngineIoHandler for Echo {
    type Data = ();

    fn on_connect(self: Arc<Self>, _: Arc<Socket<()>>) {}

    fn on_disconnect(&self, _: Arc<Socket<()>>, _: DisconnectReason) {}

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<Socket<()>>) {
        // A client that is gone needs no answer.
        let _ = socket.emit(message);
    }

    fn on_binary(self: &Arc<Self>, data: Bytes, socket: Arc<Socket<()>>) {
        let _ = socket.emit_binary(data);
    }
}

/// What each namespace does for the suite of Socket.IO.
async fn connected(socket: SocketRef, TryData(shown): TryData<Value>) {
    let shown = shown.unwrap_or_else(|_| json!({}));
    // The suite begins to wait for it once it has the packet before: it loses what comes in one piece with that.
    tokio::time::sleep(MOMENT).await;
    said(socket.emit("auth", &shown));
    socket.on("message", async |socket: SocketRef, Data::<Arguments>(arguments)| {
        said(socket.emit("message-back", &arguments));
    });
    socket.on("message-with-ack", async |Data::<Arguments>(arguments), ack: AckSender| {
        said(ack.send(&arguments));
    });
    socket.on("emit-with-ack", async |socket: SocketRef, Data::<Arguments>(arguments)| {
        match socket.emit_with_ack::<_, Arguments>("emit-with-ack", &arguments) {
            Ok(answer) => match answer.await {
                Ok(arguments) => said(socket.emit("emit-with-ack", &arguments)),
                Err(error) => said(Err(error)),
            },
            Err(error) => said(Err(error)),
        }
    });
}

/// A client that is gone is told nothing; anything else is a fault of this listener.
fn said(result: Result<(), impl fmt::Debug>) {
    if let Err(error) = result {
        println!("not sent: {error:?}");
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let (socketio, io) = protocol()
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .connect_timeout(JOIN)
        .max_payload(PAYLOAD as u64)
        .build_with_inner_svc(NotFoundService);
    io.ns("/", connected);
    io.ns("/custom", connected);
    let config = EngineIoConfig::builder()
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .max_payload(PAYLOAD as u64)
        .build();
    let service = EngineIoService::with_config_inner(socketio, Arc::new(Echo), config);

    let stopping = CancellationToken::new();
    let listeners = Listeners { web: vec![TcpListener::bind(ADDRESS).await?], local: vec![] };
    let config = LiveConfig::new(Config::default());
    let serving = tokio::spawn(Server::new(service, config, stopping.clone()).run(listeners));
    println!("listening at {ADDRESS}: /engine.io/ and /socket.io/");
    tokio::time::sleep(LIFE).await;
    stopping.cancel();
    serving.await?;
    Ok(())
}
