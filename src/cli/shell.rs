//! `podkeeper shell`: a terminal session in this terminal.

use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use terminal_size::{Height, Width, terminal_size};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::client::{Agent, ClientError};
use super::show::{Cell, Paint, ago, cell, colours, table};
use super::socket::{Event, Said, Socket};
use super::{Outcome, show};
use crate::names::SessionId;
use crate::text::Plain;

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
    Ended { code: Option<i32>, problem: Value },
    Detached,
    Lost,
}

fn size() -> (u16, u16) {
    terminal_size().map_or((80, 24), |(Width(cols), Height(rows))| (cols.clamp(2, 1000), rows.clamp(1, 500)))
}

/// Opens a session or goes on with one, and stays in it to its end.
pub async fn run(agent: &Agent, which: &Which, json: bool) -> Outcome {
    let mut socket = Socket::join(agent, "/term").await?;
    if which.list {
        return list(&mut socket, json).await;
    }
    if let Some(session) = &which.close {
        socket.ask("close", &json!({ "session": session })).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let (cols, rows) = size();
    let attached = match &which.attach {
        Some(session) => Some(session.to_string()),
        None => named(&mut socket, which).await?,
    };
    let session = match attached {
        Some(session) => {
            let shown = socket.ask("attach", &json!({ "session": session })).await?;
            socket.ask("resize", &json!({ "session": session, "cols": cols, "rows": rows })).await?;
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
    let id = session["session"].as_str().ok_or(ClientError::Broken)?.to_owned();
    let left = {
        let _raw = if std::io::stdin().is_terminal() { Some(Raw::new()?) } else { None };
        stay(&mut socket, &id).await
    };
    match left? {
        Left::Ended { code: Some(code), .. } => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        Left::Ended { code: None, problem } if problem["problem"].is_string() => {
            Err(super::client::refused(&problem).into())
        }
        Left::Ended { code: None, .. } => Err("the session was closed".into()),
        Left::Detached => {
            writeln!(show::err(), "\nThe session goes on. Come back with: podkeeper shell --attach {id}")?;
            Ok(ExitCode::SUCCESS)
        }
        Left::Lost => Err(format!(
            "the connection is lost, and the session goes on for a while\nnext: podkeeper shell --attach {id}"
        )
        .into()),
    }
}

/// The session that has the wanted name already.
async fn named(socket: &mut Socket, which: &Which) -> Result<Option<String>, ClientError> {
    let Some(name) = &which.name else { return Ok(None) };
    let all = socket.ask("list", &json!({})).await?;
    let mut sessions = all["sessions"].as_array().into_iter().flatten();
    let found = sessions.find(|session| {
        session["name"].as_str() == Some(name)
            && session["ending"] != true
            && session["service"].as_str() == which.service.as_deref()
    });
    Ok(found.and_then(|session| session["session"].as_str().map(str::to_owned)))
}

async fn list(socket: &mut Socket, json: bool) -> Outcome {
    let answer = socket.ask("list", &json!({})).await?;
    let mut out = show::out();
    if json {
        writeln!(out, "{answer}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = jiff::Timestamp::now();
    let place = |service: &Value| match service.as_str() {
        Some(name) => (Plain::from(name), Paint::Plain),
        None => ("isolated".into(), Paint::Dim),
    };
    let row = |session: &Value| {
        vec![
            cell(&session["session"]),
            cell(&session["name"]),
            place(&session["service"]),
            ago(&session["began"], now),
            if session["ending"] == true { ("ending".into(), Paint::Dim) } else { cell(&session["viewers"]) },
        ]
    };
    let rows: Vec<Vec<Cell>> = answer["sessions"].as_array().into_iter().flatten().map(row).collect();
    table(&mut out, &["SESSION", "NAME", "IN", "AGE", "VIEWERS"], &rows, colours())?;
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
async fn stay(socket: &mut Socket, id: &str) -> Result<Left, Box<dyn std::error::Error>> {
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
                    Some((to, bytes)) if to == number && answer["problem"] == "conflict" => {
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

async fn show(
    socket: &mut Socket,
    id: &str,
    shown: &mut usize,
    event: Event,
) -> Result<Option<Left>, Box<dyn std::error::Error>> {
    if event.data["session"] != json!(id) {
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
        "exit" => {
            let code = event.data["code"].as_i64().and_then(|code| i32::try_from(code).ok());
            Ok(Some(Left::Ended { code, problem: event.data }))
        }
        _ => Ok(None),
    }
}
