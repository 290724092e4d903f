//! `/term`: terminal sessions. A client watches as many as it likes; each has its window, and what a client is too slow
//! for is not queued but shown as the screen it has come to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio::time::sleep;

use super::call::{Answer, Call, Note, Payload};
use super::channel::{Channel, Gone, Key, Received};
use super::life::{End, Source, StreamKind};
use super::subject::About;
use crate::api::live::{
    Nothing, OfSession, OpenTerminal, ResizeTerminal, TerminalAck, TerminalInput, TerminalOutput, TerminalSession,
    TerminalSessions,
};
use crate::decode::DecodeError;
use crate::names::SessionId;
use crate::problem::{Code, Problem, chain};
use crate::terminal::{self, Session, SessionRequest, Size, TerminalError, View, Viewer};

/// What one event shows, at most.
const MESSAGE: usize = 64 * 1024;
/// What a program writes within this is shown by one event, where it is no more than a part of one.
const GATHER: Duration = Duration::from_millis(2);
/// What one event may type.
const INPUT: usize = 64 * 1024;

impl Payload for OpenTerminal {
    fn about(&self) -> Result<About, Problem> {
        Ok(About::Place(self.service.clone()))
    }
}

impl Payload for Nothing {
    fn about(&self) -> Result<About, Problem> {
        Ok(About::Own)
    }
}

macro_rules! about_its_session {
    ($($payload:ident)+) => {
        $(impl Payload for $payload {
            fn about(&self) -> Result<About, Problem> {
                Ok(About::Session(self.session.clone()))
            }
        })+
    };
}

about_its_session! { OfSession ResizeTerminal TerminalAck }

impl Payload for TerminalInput {
    fn about(&self) -> Result<About, Problem> {
        Ok(About::Session(self.session.clone()))
    }

    fn receive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Result<Self, DecodeError>, D::Error> {
        Self::deserialize(deserializer).map(Ok)
    }
}

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

/// The answer that tells of a session, and then what it shows.
fn watching(call: Call, session: &Arc<Session>) -> Answer {
    let source = Showing { id: session.id.clone(), viewer: session.watch() };
    let channel = call.client.streams().show(session.id.clone(), call.socket);
    Answer::stream(json!(shown(session)), channel, source)
}

/// As the audit log is told of it.
fn named(session: &Session) -> Option<String> {
    Some(format!("session {}", session.id))
}

pub(super) async fn open(call: Call, wanted: OpenTerminal) -> Result<Answer, Problem> {
    let size = Size::parse(wanted.cols, wanted.rows).map_err(problem)?;
    let actor = call.client.identity().actor;
    let wanted = SessionRequest { service: wanted.service, name: wanted.name, size, actor };
    let session = call.client.state().terminals().open(wanted).await.map_err(problem)?;
    let opened = session.clone();
    let end = async move {
        let terminal::End { code, problem } = opened.ended().await;
        End { problem, code }
    };
    let note = Note { detail: named(&session), end: Some(Box::pin(end)), ..Note::default() };
    Ok(watching(call, &session).noted(note))
}

pub(super) async fn list(call: Call, _: Nothing) -> Result<Answer, Problem> {
    let all = call.client.state().terminals().list();
    let identity = call.client.identity();
    let may = |session: &&Arc<Session>| identity.allows(crate::names::Scope::Admin, session.service.as_ref()).is_ok();
    let sessions = all.iter().filter(may).map(|session| shown(session)).collect();
    Ok(Answer::from(json!(TerminalSessions { sessions })))
}

pub(super) async fn attach(call: Call, of: OfSession) -> Result<Answer, Problem> {
    let session = call.client.state().terminals().session(&of.session).map_err(problem)?;
    if session.is_over() {
        return Err(problem(TerminalError::Ended));
    }
    Ok(watching(call, &session))
}

pub(super) async fn input(call: Call, input: TerminalInput) -> Result<Answer, Problem> {
    let session = call.client.state().terminals().session(&input.session).map_err(problem)?;
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
    let session = call.client.state().terminals().session(&wanted.session).map_err(problem)?;
    session.resize(Size::parse(wanted.cols, wanted.rows).map_err(problem)?).map_err(problem)?;
    Ok(Answer::from(json!({})))
}

pub(super) async fn ack(call: Call, ack: TerminalAck) -> Result<Answer, Problem> {
    call.client.streams().acknowledge(&Key::Session(ack.session), Received::Bytes(ack.bytes))?;
    Ok(Answer::from(json!({})))
}

pub(super) async fn detach(call: Call, of: OfSession) -> Result<Answer, Problem> {
    call.client.streams().close(&Key::Session(of.session))?;
    Ok(Answer::from(json!({})))
}

pub(super) async fn close(call: Call, of: OfSession) -> Result<Answer, Problem> {
    let session = call.client.state().terminals().session(&of.session).map_err(problem)?;
    // Who asks for the end of what ends already changes nothing.
    let unchanged = !session.close();
    Ok(Answer::from(json!({})).noted(Note { detail: named(&session), unchanged, ..Note::default() }))
}

/// A session as one client is shown it.
struct Showing {
    id: SessionId,
    viewer: Viewer,
}

impl Source for Showing {
    const KIND: StreamKind = StreamKind { closed: "exit", stopping: None, tells_leaver: false, has_code: true };

    async fn feed(&mut self, channel: &Channel) -> Result<End, Gone> {
        loop {
            match self.viewer.next(MESSAGE).await {
                View::Output(data) => {
                    let is_part = data.len() < MESSAGE / 2;
                    channel.room(data.len()).await;
                    channel.send("output", &TerminalOutput { session: self.id.clone(), data }).await?;
                    if is_part {
                        sleep(GATHER).await;
                    }
                }
                View::Size(Size { cols, rows }) => {
                    let size = json!({ "session": self.id, "cols": cols, "rows": rows });
                    channel.send("resized", &size).await?;
                }
                View::End(terminal::End { code, problem }) => return Ok(End { problem, code }),
            }
        }
    }
}
