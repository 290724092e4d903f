//! `/term`: terminal sessions. A client watches as many as it likes; each has its window, and what a client is too slow
//! for is not queued but shown as the screen it has come to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Sockets;
use super::channel::{emit, told};
use super::client::{Answer, Call, Client, Payload, Subject};
use crate::api::live::{
    Nothing, OfSession, OpenTerminal, ResizeTerminal, TerminalAck, TerminalInput, TerminalOutput, TerminalSession,
    TerminalSessions,
};
use crate::auth::Deed;
use crate::names::{Actor, ServiceName, SessionId};
use crate::problem::{Code, Problem, chain};
use crate::terminal::{End, Pace, Session, Size, TerminalError, View, Viewer, Wanted};

/// What one event shows, at most.
const MESSAGE: usize = 64 * 1024;
/// How much is shown ahead of what the client has acknowledged.
const WINDOW: usize = 256 * 1024;
/// What a program writes within this is shown by one event, where it is no more than a part of one.
const GATHER: Duration = Duration::from_millis(2);
/// What one event may type.
const INPUT: usize = 64 * 1024;

/// The sessions that a client watches.
#[derive(Debug, Clone, Default)]
pub(super) struct Attached {
    windows: Arc<Mutex<HashMap<SessionId, Arc<Window>>>>,
}

/// How much was sent of a session, and how much of that is acknowledged.
#[derive(Debug, Default)]
struct Window {
    totals: Mutex<Totals>,
    room: Notify,
    leaving: CancellationToken,
}

#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    acknowledged: u64,
}

impl Window {
    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` more may be sent.
    async fn take(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        loop {
            let room = self.room.notified();
            {
                let mut totals = self.totals();
                let waiting = totals.sent - totals.acknowledged;
                if waiting == 0 || waiting.saturating_add(bytes) <= WINDOW as u64 {
                    totals.sent = totals.sent.saturating_add(bytes);
                    return;
                }
            }
            room.await;
        }
    }

    /// The client has shown `total` bytes so far. A later total holds the ones before it, so that none may be missed.
    fn acknowledge(&self, total: u64) -> Result<(), Problem> {
        let mut totals = self.totals();
        if total > totals.sent {
            return Err(Problem::new(Code::BadRequest, "more is acknowledged than was sent"));
        }
        totals.acknowledged = totals.acknowledged.max(total);
        drop(totals);
        self.room.notify_one();
        Ok(())
    }
}

impl Attached {
    fn windows(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Window>>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch a session. Whoever watches it already begins anew, from its screen.
    fn begin(&self, id: &SessionId) -> Arc<Window> {
        let window = Arc::<Window>::default();
        if let Some(before) = self.windows().insert(id.clone(), window.clone()) {
            before.leaving.cancel();
        }
        window
    }

    fn end(&self, id: &SessionId, window: &Arc<Window>) {
        let mut windows = self.windows();
        if windows.get(id).is_some_and(|now| Arc::ptr_eq(now, window)) {
            windows.remove(id);
        }
    }

    fn window(&self, id: &SessionId) -> Result<Arc<Window>, Problem> {
        let none =
            || Problem::new(Code::NotFound, "this connection does not watch that session").with_hint("attach first");
        self.windows().get(id).cloned().ok_or_else(none)
    }
}

fn of(session: &SessionId, sockets: &Sockets) -> Result<Subject, Problem> {
    let session = sockets.terminals().session(session).map_err(problem)?;
    Ok(session.service.clone().map_or(Subject::Host, Subject::Service))
}

impl Payload for OpenTerminal {
    async fn subject(&self, _: &Sockets) -> Result<Subject, Problem> {
        Ok(self.service.clone().map_or(Subject::Host, Subject::Service))
    }
}

impl Payload for Nothing {
    async fn subject(&self, _: &Sockets) -> Result<Subject, Problem> {
        Ok(Subject::Own)
    }
}

macro_rules! about_its_session {
    ($($payload:ident)+) => {
        $(impl Payload for $payload {
            async fn subject(&self, sockets: &Sockets) -> Result<Subject, Problem> {
                of(&self.session, sockets)
            }
        })+
    };
}

about_its_session! { OfSession TerminalInput ResizeTerminal TerminalAck }

fn problem(error: TerminalError) -> Problem {
    let problem = error.problem();
    if problem.code == Code::Internal {
        tracing::error!("a terminal can't do that: {}", chain(&error));
    }
    problem
}

fn shown(session: &Session) -> TerminalSession {
    let Size { cols, rows } = session.size();
    TerminalSession {
        session: session.id.clone(),
        name: session.name.clone(),
        service: session.service.clone(),
        cols,
        rows,
        began: session.began,
        viewers: session.viewers(),
        ending: session.is_over(),
    }
}

fn answer(session: &impl Serialize) -> Result<serde_json::Value, Problem> {
    serde_json::to_value(session).map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

/// The answer that tells of a session, and then what it shows.
fn watching(call: Call, session: &Arc<Session>) -> Result<Answer, Problem> {
    let viewer = session.watch();
    let window = call.client.attached().begin(&session.id);
    Ok(Answer::stream(answer(&shown(session))?, show(call, session.id.clone(), viewer, window)))
}

pub(super) async fn open(call: Call, wanted: OpenTerminal) -> Result<Answer, Problem> {
    let target = target(wanted.service.as_ref());
    let opened = open_session(&call.client, wanted).await;
    let deed = call.client.deed("/term open".into(), target);
    let sockets = call.client.sockets().clone();
    match &opened {
        Ok(session) => {
            // Beside this event: whoever goes away in the middle of it has opened the session all the same.
            let (wrote, written) = oneshot::channel();
            call.client.sockets().streams().spawn(record(sockets, deed, session.clone(), wrote));
            let _ = written.await;
        }
        Err(problem) => {
            sockets.auth().refused(Deed { result: problem.code.as_str().into(), ..deed }).await;
        }
    }
    watching(call, &opened?)
}

async fn open_session(client: &Client, wanted: OpenTerminal) -> Result<Arc<Session>, Problem> {
    let size = Size::parse(wanted.cols, wanted.rows).map_err(problem)?;
    let wanted = Wanted { service: wanted.service, name: wanted.name, size, actor: client.identity().actor };
    client.sockets().terminals().open(wanted).await.map_err(problem)
}

/// What a session is in, for the audit log.
fn target(service: Option<&ServiceName>) -> String {
    service.map_or_else(|| "the isolated shell".into(), ServiceName::to_string)
}

/// Writes down that a session was opened, and how it ended. That somebody closed it is written down with who it was.
async fn record(sockets: Sockets, opened: Deed, session: Arc<Session>, wrote: oneshot::Sender<()>) {
    let told = format!("session {}", session.id);
    let closed = Deed { action: "/term close".into(), ..opened.clone() };
    sockets.auth().done(Deed { detail: Some(told.clone()), ..opened }).await;
    // The client may be gone.
    let _ = wrote.send(());
    let closed = match session.ended().await {
        End { problem: Some(problem), .. } => Deed {
            actor: Some(Actor::Agent),
            address: None,
            result: problem.code.as_str().into(),
            detail: Some(format!("{told}: {}", problem.detail)),
            ..closed
        },
        End { code: Some(code), .. } => Deed { detail: Some(format!("{told} ended with status {code}")), ..closed },
        End { code: None, problem: None } => return,
    };
    sockets.auth().done(closed).await;
}

impl Sockets {
    /// Clears away what the terminals of the agent before left, and writes it down. Nobody waits for it: what can't be
    /// cleared away is tried again, each session by itself.
    pub async fn clear_terminals(&self) {
        let mut pace = Pace::default();
        let mut told = HashSet::new();
        while let Err(error) = self.clear_left(&mut told).await {
            tracing::debug!("terminal sessions of the agent before are not cleared away: {}", chain(&error));
            pace.wait().await;
        }
    }

    /// Tries each once; the last failure. `told` holds the sessions of which one was in the log, and none where it is not
    /// known which there are.
    async fn clear_left(&self, told: &mut HashSet<Option<SessionId>>) -> Result<(), TerminalError> {
        let mut cleared = Ok(());
        let mut failed = |session: Option<SessionId>, error: TerminalError| {
            if told.insert(session.clone()) {
                let session = session.as_ref().map(SessionId::as_str);
                tracing::warn!(session, "a session of the agent before is not cleared away yet: {}", chain(&error));
            }
            error
        };
        for session in self.terminals().left().await.map_err(|error| failed(None, error))? {
            match self.terminals().clear(&session).await {
                Ok(()) => self.auth().done(left(&session)).await,
                Err(error) => cleared = Err(failed(Some(session), error)),
            }
        }
        cleared
    }
}

/// The end of a session that the agent before left.
fn left(session: &SessionId) -> Deed {
    Deed {
        actor: Some(Actor::Agent),
        address: None,
        action: "/term close".into(),
        target: format!("session {session}"),
        result: "done".into(),
        detail: Some("the agent before had not ended it".into()),
    }
}

pub(super) async fn list(call: Call, _: Nothing) -> Result<Answer, Problem> {
    let all = call.client.sockets().terminals().list();
    let identity = call.client.identity();
    let may = |session: &&Arc<Session>| identity.allows(crate::names::Scope::Admin, session.service.as_ref()).is_ok();
    let sessions = all.iter().filter(may).map(|session| shown(session)).collect();
    Ok(Answer::from(answer(&TerminalSessions { sessions })?))
}

pub(super) async fn attach(call: Call, of: OfSession) -> Result<Answer, Problem> {
    let session = call.client.sockets().terminals().session(&of.session).map_err(problem)?;
    if session.is_over() {
        return Err(problem(TerminalError::Ended));
    }
    watching(call, &session)
}

pub(super) async fn input(call: Call, input: TerminalInput) -> Result<Answer, Problem> {
    let session = call.client.sockets().terminals().session(&input.session).map_err(problem)?;
    let bytes = match input.text {
        None => input.data,
        Some(text) if input.data.is_empty() => Bytes::from(text),
        Some(_) => return Err(Problem::new(Code::BadRequest, "input is either `data` or `text`")),
    };
    if bytes.len() > INPUT {
        return Err(Problem::new(Code::PayloadTooLarge, format!("one input takes {INPUT} bytes")));
    }
    session.input(bytes).map_err(problem)?;
    Ok(Answer::from(json!({})))
}

pub(super) async fn resize(call: Call, wanted: ResizeTerminal) -> Result<Answer, Problem> {
    let session = call.client.sockets().terminals().session(&wanted.session).map_err(problem)?;
    session.resize(Size::parse(wanted.cols, wanted.rows).map_err(problem)?).map_err(problem)?;
    Ok(Answer::from(json!({})))
}

pub(super) async fn ack(call: Call, ack: TerminalAck) -> Result<Answer, Problem> {
    call.client.attached().window(&ack.session)?.acknowledge(ack.bytes)?;
    Ok(Answer::from(json!({})))
}

pub(super) async fn detach(call: Call, of: OfSession) -> Result<Answer, Problem> {
    call.client.attached().window(&of.session)?.leaving.cancel();
    Ok(Answer::from(json!({})))
}

pub(super) async fn close(call: Call, of: OfSession) -> Result<Answer, Problem> {
    let session = call.client.sockets().terminals().session(&of.session).map_err(problem)?;
    if session.close() {
        let deed = call.client.deed("/term close".into(), target(session.service.as_ref()));
        call.client.sockets().auth().done(Deed { detail: Some(format!("session {}", session.id)), ..deed }).await;
    }
    Ok(Answer::from(json!({})))
}

/// Shows a session until it ends, or the client leaves it or is gone.
async fn show(call: Call, id: SessionId, mut viewer: Viewer, window: Arc<Window>) {
    let Call { client, socket, right } = call;
    let left = async {
        tokio::select! {
            () = client.gone().cancelled() => {}
            () = window.leaving.cancelled() => {}
            problem = client.refused(&right) => {
                let end = End { problem: Some(problem), code: None };
                let _ = client.gone().run_until_cancelled(emit(&socket, "exit", &ended(&id, end))).await;
            }
        }
    };
    let showing = async {
        loop {
            let sent = match viewer.next(MESSAGE).await {
                View::Output(data) => {
                    let is_part = data.len() < MESSAGE / 2;
                    window.take(data.len()).await;
                    let sent = emit(&socket, "output", &TerminalOutput { session: id.clone(), data }).await;
                    if is_part {
                        sleep(GATHER).await;
                    }
                    sent
                }
                View::Size(size) => {
                    let size = json!({ "session": id, "cols": size.cols, "rows": size.rows });
                    emit(&socket, "resized", &size).await
                }
                View::End(end) => {
                    let _ = emit(&socket, "exit", &ended(&id, end)).await;
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = left => {}
        () = showing => {}
    }
    client.attached().end(&id, &window);
}

fn ended(id: &SessionId, end: End) -> serde_json::Value {
    let mut data = end.problem.as_ref().map_or_else(|| json!({}), told);
    data["session"] = json!(id);
    data["code"] = json!(end.code);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_window_has_room_for_what_is_acknowledged() {
        let window = Window::default();
        let takes = |bytes| tokio::time::timeout(Duration::from_millis(20), window.take(bytes));
        assert!(takes(WINDOW).await.is_ok());
        assert!(takes(1).await.is_err());
        assert!(window.acknowledge(WINDOW as u64 + 1).is_err());
        window.acknowledge(2).unwrap();
        window.acknowledge(1).unwrap();
        assert!(takes(2).await.is_ok());
        assert!(takes(1).await.is_err());
        window.acknowledge(WINDOW as u64 + 2).unwrap();
        assert!(takes(WINDOW * 2).await.is_ok(), "what is larger than the window goes alone");
    }
}
