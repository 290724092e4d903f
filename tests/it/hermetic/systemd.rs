//! The service user's systemd manager on its bus (org.freedesktop.systemd1(5)), as far as the agent calls it. The bus is
//! this, too: it takes the rules for signals (the D-Bus specification, "Message Bus Messages"), and passes none on that
//! no rule matches.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use zbus::message::{Flags, Header, Type};
use zbus::{Connection, Guid, MatchRule, Message, MessageStream};

use super::calls::{Call, Calls, Refused};
use super::manager::{Manager, Reply};
use super::world::World;

/// What the manager is called on the bus.
const OWNER: &str = ":1.0";
const BUS: &str = "org.freedesktop.DBus";

/// A manager that answers as long as this is there.
pub struct FakeSystemd {
    socket: PathBuf,
    bus: Arc<Bus>,
    manager: Manager,
    calls: Calls,
    serving: Option<AbortOnDropHandle<()>>,
}

/// Those that are connected.
#[derive(Default)]
pub struct Bus {
    peers: Mutex<Vec<Arc<Peer>>>,
    /// How many connections there have been.
    last: AtomicU32,
}

struct Peer {
    connection: Connection,
    name: String,
    rules: Mutex<Vec<(String, MatchRule<'static>)>>,
}

impl Bus {
    /// Sends a signal to whoever has asked for it.
    pub async fn emit<B>(&self, path: &str, interface: &str, member: &str, body: &B)
    where
        B: serde::Serialize + zbus::DynamicType + Sync,
    {
        let signal = Message::signal(path, interface, member).sender(OWNER).build(body).unwrap();
        let peers = self.peers.lock().unwrap().clone();
        for peer in peers {
            let wants = peer.rules.lock().unwrap().iter().any(|(_, rule)| rule.matches(&signal).unwrap_or(false));
            if wants {
                // One that has left hears nothing.
                let _ = peer.connection.send(&signal).await;
            }
        }
    }

    fn leave(&self, name: &str) {
        self.peers.lock().unwrap().retain(|peer| peer.name != name);
    }
}

impl FakeSystemd {
    /// `quadlets` is the folder of Quadlet's files, `units` that of the user's own units.
    pub fn start(socket: &Path, quadlets: &Path, units: &Path, world: Arc<Mutex<World>>, calls: Calls) -> Self {
        let bus = Arc::<Bus>::default();
        let manager = Manager::new(world, bus.clone(), quadlets.to_owned(), units.to_owned());
        let mut this = Self { socket: socket.to_owned(), bus, manager, calls, serving: None };
        this.come_back();
        this
    }

    /// The bus is gone, with all that was under way on it. Units go on.
    pub fn go(&mut self) {
        self.serving = None;
        self.bus.peers.lock().unwrap().clear();
        std::fs::remove_file(&self.socket).unwrap();
    }

    pub fn come_back(&mut self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let (bus, manager, calls) = (self.bus.clone(), self.manager.clone(), self.calls.clone());
        self.serving = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            // Dropped with this task, they end with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().unwrap();
                let builder = zbus::connection::Builder::unix_stream(stream).server(Guid::generate()).p2p();
                let (bus, manager, calls) = (bus.clone(), manager.clone(), calls.clone());
                connections.spawn(async move {
                    if let Ok(messages) = builder.build_message_stream().await {
                        serve(messages, bus, manager, calls).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        })));
    }

    pub fn manager(&self) -> &Manager {
        &self.manager
    }
}

async fn serve(mut messages: MessageStream, bus: Arc<Bus>, manager: Manager, calls: Calls) {
    let number = bus.last.fetch_add(1, Ordering::SeqCst) + 1;
    let (connection, name) = (Connection::from(&messages), format!(":1.{number}"));
    let peer = Arc::new(Peer { connection: connection.clone(), name: name.clone(), rules: Mutex::default() });
    bus.peers.lock().unwrap().push(peer.clone());
    let mut answers = JoinSet::new();
    let (cut, mut is_cut) = tokio::sync::mpsc::channel(1);
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            _ = is_cut.recv() => break,
        };
        let Some(Ok(message)) = message else { break };
        if message.message_type() != Type::MethodCall {
            continue;
        }
        let header = message.header();
        if header.destination().is_some_and(|to| to.as_str() == BUS) {
            if answer_for_bus(&peer, &message, &header).await.is_err() {
                break;
            }
            continue;
        }
        let (call, fate) = noted(&message, &header, &calls);
        let (connection, manager, cut, message) = (connection.clone(), manager.clone(), cut.clone(), message.clone());
        answers.spawn(async move {
            if answer(&connection, &manager, &message, &call, fate).await.is_err() {
                let _ = cut.send(()).await;
            }
        });
        while answers.try_join_next().is_some() {}
    }
    bus.leave(&name);
    let _ = connection.close().await;
}

/// What is about a unit names it: by the first argument, or by the path.
fn noted(message: &Message, header: &Header<'_>, calls: &Calls) -> (Call, super::calls::Fate) {
    let member = header.member().map(|member| member.to_string()).unwrap_or_default();
    let path = header.path().map(|path| path.to_string()).unwrap_or_default();
    let by_argument = matches!(
        member.as_str(),
        "StartUnit" | "StopUnit" | "KillUnit" | "GetUnit" | "ResetFailedUnit" | "StartTransientUnit"
    );
    let of = if by_argument {
        super::manager::first_text(message)
    } else {
        super::manager::unit_of_path(&path).unwrap_or_default()
    };
    let call = Call { what: member, of };
    (call.clone(), calls.note(call))
}

/// An error ends the connection.
async fn answer(
    connection: &Connection,
    manager: &Manager,
    message: &Message,
    call: &Call,
    mut fate: super::calls::Fate,
) -> Result<(), ()> {
    let header = message.header();
    match fate.before().await {
        Err(Refused::ByEnd) => return Err(()),
        Err(Refused::ByAnswer) => {
            let refused = connection.reply_error(&header, "org.freedesktop.DBus.Error.Failed", &"the test says so");
            return refused.await.map_err(drop);
        }
        Ok(()) => {}
    }
    let reply = manager.carry_out(call, message).await;
    fate.after().await.map_err(drop)?;
    if header.primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
        return Ok(());
    }
    match reply {
        Reply::Of(answer) => connection.send(&answer).await.map_err(drop),
        Reply::Job(answer, answered) => {
            let sent = connection.send(&answer).await.map_err(drop);
            drop(answered);
            sent
        }
    }
}

/// What the bus itself is asked.
async fn answer_for_bus(peer: &Peer, message: &Message, header: &Header<'_>) -> zbus::Result<()> {
    let connection = &peer.connection;
    let member = header.member().map(|member| member.to_string()).unwrap_or_default();
    let wants_reply = !header.primary().flags().contains(Flags::NO_REPLY_EXPECTED);
    match member.as_str() {
        "Hello" => return connection.reply(header, &peer.name).await,
        "GetNameOwner" => return connection.reply(header, &OWNER).await,
        "AddMatch" => {
            let text: String = message.body().deserialize()?;
            // The manager is the only one whose signals there are.
            let rule = MatchRule::try_from(text.as_str())?.to_owned();
            peer.rules.lock().unwrap().push((text, rule));
        }
        "RemoveMatch" => {
            let text: String = message.body().deserialize()?;
            let mut rules = peer.rules.lock().unwrap();
            if let Some(at) = rules.iter().position(|(known, _)| *known == text) {
                rules.remove(at);
            }
        }
        other => {
            let said = format!("no test has needed {other} yet");
            return connection.reply_error(header, "org.freedesktop.DBus.Error.UnknownMethod", &said).await;
        }
    }
    if wants_reply { connection.reply(header, &()).await } else { Ok(()) }
}
