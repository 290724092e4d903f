//! `podkeeper shell`: a terminal session in this terminal.

use std::io::{IsTerminal, Read, Write};
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use serde::Deserialize;
use serde_json::{Value, json};
use terminal_size::{Height, Width, terminal_size};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::client::{Agent, ClientError, Refusal};
use super::options::{Failure, Outcome};
use super::show::{Cell, Paint, ago, cell, text};
use super::socket::{Event, Said, Socket};
use super::{show, tables};
use crate::api::live::{TerminalSession, TerminalSessions};
use crate::names::SessionId;
use crate::problem::Code;
use crate::terminal::Size;

/// Ctrl-], which leaves a session without ending it, as telnet has it.
const LEAVE: u8 = 0x1d;
/// What is typed at once, at most.
const INPUT: usize = 16 * 1024;
/// How long until what the program had no room for is sent again.
const AGAIN: Duration = Duration::from_millis(100);
/// How often the end of what a pipe holds is typed.
const END: Duration = Duration::from_secs(1);

/// Which session.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// In this service's container; without it, a shell of its own, apart from everything
    service: Option<String>,
    /// What the session shall be called, or the one to go on with where it is there already
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Go on with this session
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["service", "name"])]
    attach: Option<SessionId>,
    /// List the sessions
    #[arg(long, conflicts_with_all = ["service", "name", "attach"])]
    list: bool,
    /// End this session
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["service", "name", "attach", "list"])]
    close: Option<SessionId>,
}

/// This terminal, raw for as long as this lives.
struct Raw(Termios);

impl Raw {
    fn new() -> Result<Self, nix::Error> {
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSADRAIN, &self.0);
    }
}

/// How a session was left.
enum Left {
    Ended(Exit),
    Detached,
    Lost,
}

/// How a session ended.
#[derive(Deserialize)]
struct Exit {
    code: Option<i32>,
    #[serde(flatten)]
    problem: Option<Refusal>,
}

fn size() -> (u16, u16) {
    let within = |size: u16, bounds: RangeInclusive<u16>| size.clamp(*bounds.start(), *bounds.end());
    let fitting = |(Width(cols), Height(rows))| (within(cols, Size::COLS), within(rows, Size::ROWS));
    terminal_size().map_or((80, 24), fitting)
}

/// Opens a session or goes on with one, and stays in it to its end.
pub async fn run(agent: &Agent, which: &Which, json: bool) -> Outcome {
    let mut socket = Socket::join(agent, "/term").await?;
    if which.list {
        return list(&mut socket, json).await;
    }
    if let Some(session) = &which.close {
        socket.ask::<Value>("close", &json!({ "session": session })).await?;
        show::done(json, &format!("the session {session} is ended"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (cols, rows) = size();
    let attached = match &which.attach {
        Some(session) => Some(session.clone()),
        None => named(&mut socket, which).await?,
    };
    let session = match attached {
        Some(session) => {
            let shown: TerminalSession = socket.ask("attach", &json!({ "session": session })).await?;
            socket.ask::<Value>("resize", &json!({ "session": session, "cols": cols, "rows": rows })).await?;
            shown
        }
        None => {
            let mut wanted = json!({ "cols": cols, "rows": rows });
            for (key, value) in [("service", &which.service), ("name", &which.name)] {
                if let Some(value) = value {
                    wanted[key] = json!(value);
                }
            }
            socket.ask("open", &wanted).await?
        }
    };
    let id = session.session;
    let left = {
        let _raw = if std::io::stdin().is_terminal() { Some(Raw::new()?) } else { None };
        stay(&mut socket, &id).await
    };
    match left? {
        Left::Ended(Exit { code: Some(code), .. }) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        Left::Ended(Exit { code: None, problem: Some(problem) }) => Err(ClientError::from(problem).into()),
        Left::Ended(Exit { code: None, problem: None }) => Err("the session was closed".into()),
        Left::Detached => {
            writeln!(show::err(), "\nThe session goes on. Come back with: podkeeper shell --attach {id}")?;
            Ok(ExitCode::SUCCESS)
        }
        Left::Lost => Err(format!(
            "the connection is lost, and the session goes on for a while\nNext: podkeeper shell --attach {id}"
        )
        .into()),
    }
}

/// The session that has the wanted name already.
async fn named(socket: &mut Socket, which: &Which) -> Result<Option<SessionId>, ClientError> {
    let Some(name) = &which.name else { return Ok(None) };
    let all: TerminalSessions = socket.ask("list", &json!({})).await?;
    let found = all.sessions.into_iter().find(|session| {
        session.name.as_ref().is_some_and(|known| known.as_str() == name)
            && !session.ending
            && session.service.as_ref().map(|service| service.as_str()) == which.service.as_deref()
    });
    Ok(found.map(|session| session.session))
}

async fn list(socket: &mut Socket, json: bool) -> Outcome {
    let mut out = show::out();
    if json {
        writeln!(out, "{}", socket.ask::<Value>("list", &json!({})).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let TerminalSessions { sessions } = socket.ask("list", &json!({})).await?;
    let now = jiff::Timestamp::now();
    let row = |session: &TerminalSession| {
        vec![
            text(session.session.as_str()),
            cell(session.name.as_ref()),
            session.service.as_ref().map_or_else(|| ("isolated".into(), Paint::Dim), |name| text(name.as_str())),
            ago(Some(session.began), now),
            if session.ending { ("ending".into(), Paint::Dim) } else { text(session.viewers.to_string()) },
        ]
    };
    let rows: Vec<Vec<Cell>> = sessions.iter().map(row).collect();
    tables::list(
        &["SESSION", "NAME", "IN", "AGE", "VIEWERS"],
        &rows,
        "there are no sessions; `podkeeper shell` opens one",
    )?;
    Ok(ExitCode::SUCCESS)
}

/// What is typed. The thread that waits for it ends with the program.
fn typed() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; INPUT];
        while let Ok(length @ 1..) = std::io::stdin().read(&mut buffer) {
            if sender.blocking_send(Bytes::copy_from_slice(&buffer[..length])).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Carries what is typed and shown until the session ends or is left. What comes from a pipe goes on when the program has
/// room for it; whoever types sees what becomes of it.
async fn stay(socket: &mut Socket, id: &SessionId) -> Result<Left, Failure> {
    let mut typed = typed();
    let mut resized = signal(SignalKind::window_change())?;
    let on_terminal = std::io::stdin().is_terminal();
    let (mut typing, mut last) = (true, b'\n');
    let mut shown = 0;
    let mut unanswered: Option<(u64, Bytes)> = None;
    let mut ending = tokio::time::interval(END);
    loop {
        tokio::select! {
            said = socket.said() => match said {
                Ok(Some(Said::Event(event))) => if let Some(left) = show(socket, id, &mut shown, event).await? {
                    return Ok(left);
                },
                Ok(Some(Said::Answer(number, answer))) => match unanswered.take() {
                    // The program has not read what came before.
                    Some((to, bytes)) if to == number && is_full(&answer) => {
                        tokio::time::sleep(AGAIN).await;
                        let number = socket.emit_binary("input", json!({ "session": id }), bytes.clone()).await?;
                        unanswered = Some((number, bytes));
                    }
                    waiting => unanswered = waiting.filter(|(to, _)| *to != number),
                },
                Ok(None) | Err(_) => return Ok(Left::Lost),
            },
            // Ctrl-D, which a program reads as the end, but only where a line begins, and only once it reads a terminal:
            // a shell that is about to begin loses it.
            _ = ending.tick(), if !typing => {
                let end = if last == b'\n' { &b"\x04"[..] } else { b"\n\x04" };
                last = b'\n';
                socket.emit_binary("input", json!({ "session": id }), Bytes::from_static(end)).await?;
            }
            bytes = typed.recv(), if typing && (on_terminal || unanswered.is_none()) => match bytes {
                None => typing = false,
                Some(bytes) => {
                    let leave = bytes.iter().position(|byte| on_terminal && *byte == LEAVE);
                    let before = bytes.slice(..leave.unwrap_or(bytes.len()));
                    if let Some(byte) = before.last() {
                        last = *byte;
                        let number = socket.emit_binary("input", json!({ "session": id }), before.clone()).await?;
                        unanswered = (!on_terminal).then_some((number, before));
                    }
                    if leave.is_some() {
                        return Ok(Left::Detached);
                    }
                }
            },
            _ = resized.recv() => {
                let (cols, rows) = size();
                socket.emit("resize", &json!({ "session": id, "cols": cols, "rows": rows })).await?;
            }
        }
    }
}

/// Whether the program has no room for what was typed.
fn is_full(answer: &Value) -> bool {
    Refusal::deserialize(answer).is_ok_and(|refusal| refusal.code() == Some(Code::Conflict))
}

async fn show(socket: &mut Socket, id: &SessionId, shown: &mut usize, event: Event) -> Result<Option<Left>, Failure> {
    /// Whose event it is.
    #[derive(Deserialize)]
    struct Of {
        session: SessionId,
    }
    if event.read::<Of>()?.session != *id {
        return Ok(None);
    }
    match event.name.as_str() {
        "output" => {
            let bytes = event.binary.into_iter().next().unwrap_or_default();
            let mut out = show::session().lock();
            out.write_all(&bytes)?;
            out.flush()?;
            drop(out);
            *shown += bytes.len();
            socket.emit("ack", &json!({ "session": id, "bytes": shown })).await?;
            Ok(None)
        }
        "exit" => Ok(Some(Left::Ended(event.read()?))),
        _ => Ok(None),
    }
}
