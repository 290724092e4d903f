//! Who is connected: lets clients in, listens to them, and ends them.

use std::future::ready;
use std::time::Duration;

use serde::Deserialize;
use socketioxide::SocketIo;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::service::SocketIoService;
use tokio::time::{sleep, timeout};

use super::admission::{Admission, AdmissionService};
use super::client::{Client, authorise};
use super::dispatch::listen_to_all;
use super::event::{Namespace, Table};
use super::left;
use super::lines::{Lines, Streaming};
use super::protocol::protocol;
use super::state::State;
use super::subject::Subject;
use super::uses::Uses;
use crate::auth::{Accepts, AuditEvent, Identity, Presented};
use crate::permits::SharedPermit;
use crate::problem::{Code, Problem};

/// How long a client that is cut off has for reading that it is.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long streams may take to say that the agent stops.
const STOP: Duration = Duration::from_secs(1);

/// Everybody who is connected. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Sockets {
    io: SocketIo,
    state: State,
    table: Table,
}

/// Who is let in and doesn't know it yet.
#[derive(Debug, Clone)]
struct Expected(Client);

/// What a client may show in its connect packet, where it can't send a header.
#[derive(Debug, Default, Deserialize)]
struct Shown {
    token: Option<String>,
}

impl Sockets {
    /// Puts the streams of `table` before `inner`, which answers everything else.
    pub(super) fn mount<S: Clone>(
        inner: S,
        uses: Uses,
        table: Table,
    ) -> (AdmissionService<Streaming<SocketIoService<S>>>, Self) {
        let (service, io) = protocol().build_with_inner_svc(inner);
        let lines = Lines::new(io.clone(), table.namespaces.iter().map(|namespace| namespace.path));
        let admission = Admission::new(uses.auth.clone(), lines.clone());
        let sockets = Self { io: io.clone(), state: State::new(uses, lines.clone()), table };
        for namespace in table.namespaces {
            let (admitting, connecting) = (sockets.clone(), sockets.clone());
            let connected = move |socket: SocketRef| {
                connecting.connected(namespace, socket);
                ready(())
            };
            let admit = move |socket: SocketRef, TryData(shown): TryData<Shown>| async move {
                admitting.admit(namespace, &socket, shown.unwrap_or_default()).await
            };
            io.ns(namespace.path, connected.with(admit));
        }
        (AdmissionService { service: Streaming { service, lines }, admission }, sockets)
    }

    /// Lets somebody into a namespace, or says why not.
    async fn admit(&self, namespace: &Namespace, socket: &SocketRef, shown: Shown) -> Result<(), Problem> {
        let admitted = self.identify(namespace, socket, shown).await;
        if let (Err(problem), Some(presented)) = (&admitted, socket.req_parts().extensions.get::<Presented>())
            && problem.code.is_refusal()
        {
            let audited =
                self.state.auth().audited(None, presented, &format!("{} connect", namespace.path), namespace.path);
            self.state.auth().refused(AuditEvent { result: problem.code.as_str().into(), ..audited }).await;
        }
        admitted
    }

    async fn identify(&self, namespace: &Namespace, socket: &SocketRef, shown: Shown) -> Result<(), Problem> {
        if self.state.stopping().is_cancelled() {
            return Err(Problem::new(Code::Restarting, "the agent is stopping"));
        }
        let told = |problem: Problem| {
            problem.with_hint("send the session's cookie, or a token as `Authorization: Bearer` or as `auth: {token}`")
        };
        let by_unknown_way = || told(Problem::new(Code::NotSignedIn, "you are not signed in"));
        let mut presented =
            socket.req_parts().extensions.get::<Presented>().cloned().ok_or_else(by_unknown_way)?.unsafely();
        if let Some(token) = shown.token {
            presented.authorization = Some(format!("Bearer {token}"));
        }
        let identity = self.state.auth().identify(&presented, Accepts::Web).await?;
        let identity = identity.ok_or_else(|| told(presented.nobody()))?;
        authorise(&identity, namespace.scope, &Subject::Own)?;
        // It is told only after this, and may then send more.
        if let Some(permit) = socket.req_parts().extensions.get::<SharedPermit>() {
            permit.leave();
        }
        self.state.lines().know(socket);
        self.expect(identity, socket);
        Ok(())
    }

    /// Listens to who is being let in: as soon as it reads that it is, it sends events, and what comes before anybody
    /// listens is lost.
    fn expect(&self, identity: Identity, socket: &SocketRef) {
        let address = socket.req_parts().extensions.get().and_then(|presented| self.state.auth().address(presented));
        let stay = self.state.auth().stay(identity);
        let (client, jobs) = Client::new(self.state.clone(), stay, address);
        listen_to_all(self.table, socket, &client);
        socket.on_disconnect({
            let client = client.clone();
            move || {
                client.gone().cancel();
                ready(())
            }
        });
        self.state.tasks().spawn(client.clone().answer(jobs));
        socket.extensions.insert(Expected(client));
    }

    fn connected(&self, namespace: &Namespace, socket: SocketRef) {
        let Some(Expected(client)) = socket.extensions.remove() else { return };
        if client.gone().is_cancelled() {
            return;
        }
        // Once more: an upgrade may have been under way.
        self.state.lines().know(&socket);
        client.joined().cancel();
        self.state.tasks().spawn({
            let (this, client, socket) = (self.clone(), client.clone(), socket.clone());
            async move {
                if client.gone().run_until_cancelled(client.stay().ended()).await.is_some() {
                    this.cut(&client, socket);
                }
            }
        });
        if let Some(begin) = namespace.begin {
            self.state.streams().spawn(begin(client, socket));
        }
    }

    /// Feeds the clients until the agent stops.
    pub async fn run(self) {
        let _ = self.state.stopping().run_until_cancelled(self.state.feed_all()).await;
    }

    /// Ends all of a client at once; a moment later its connection too.
    fn cut(&self, client: &Client, socket: SocketRef) {
        client.gone().cancel();
        tracing::info!(actor = %client.identity().actor, "a connection is cut off: its session or token has ended");
        // With a full buffer it can't be told any more.
        let _ = socket.clone().disconnect();
        let lines = self.state.lines().clone();
        self.state.tasks().spawn(async move {
            sleep(FAREWELL).await;
            lines.cut(&socket);
        });
    }

    /// Clears away what the terminals of the agent before left, and writes it down.
    pub async fn clear_terminals(&self) {
        left::clear(self.state.terminals(), self.state.auth()).await;
    }

    /// Waits until the streams have said that the agent stops, then closes all connections.
    pub async fn stop(&self) {
        self.state.streams().close();
        let _ = timeout(STOP, self.state.streams().wait()).await;
        sleep(FAREWELL).await;
        let _ = timeout(STOP, self.io.close()).await;
    }
}
