//! The lines of a log that are there, oldest first, page by page: however many are asked for, a bounded part of them is held.

use std::collections::VecDeque;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Agent, ClientError, segment};
use super::lines::{Count, Lines, PAGE};
use super::options::Failure;
use super::show;
use super::show::second;
use crate::api::deployments::Deployment;
use crate::api::logs::LogEntry;
use crate::api::services::Service;
use crate::problem::Code;
use crate::store::DeploymentState;
use crate::text::Plain;

/// How much text of lines is held until the oldest is there. Of more only the oldest page is kept, and the others are read
/// again behind it.
const HELD: usize = 64 << 20;
/// How many of the last lines are remembered, to be told apart from what a unit says of its program: more than that has.
const RECENT: usize = 1000;

/// The lines of one answer, as they came and as they are read.
#[derive(Deserialize)]
struct Page<T> {
    entries: Vec<T>,
    cursor: Option<String>,
}

/// Lines that go together.
struct Piece {
    raw: Vec<Value>,
    entries: Vec<LogEntry>,
    /// Where the next begins.
    next: Option<String>,
}

/// What was printed.
#[derive(Debug, Default)]
pub(super) struct Printed {
    /// Where the last line lies; none where there was no line.
    pub(super) last: Option<String>,
    recent: VecDeque<Plain>,
}

/// Prints a line: as it came, or for a person. Its own colours stay: that is how its program wrote it.
pub(super) fn print_line(raw: &str, entry: &LogEntry, json: bool) -> std::io::Result<()> {
    let mut out = show::out();
    if json {
        return writeln!(out, "{raw}");
    }
    write!(out, "{} ", second(entry.time))?;
    // What is no UTF-8 has its bytes beside it.
    match entry.bytes.as_ref().and_then(|bytes| STANDARD.decode(bytes).ok()) {
        Some(bytes) => out.write_all(&bytes)?,
        None => out.write_all(entry.message.as_bytes())?,
    }
    writeln!(out)?;
    out.flush()
}

impl Printed {
    fn print(&mut self, piece: &Piece, json: bool) -> std::io::Result<()> {
        for (number, entry) in piece.entries.iter().enumerate() {
            print_line(&piece.raw.get(number).map(Value::to_string).unwrap_or_default(), entry, json)?;
        }
        for entry in piece.entries.iter().skip(piece.entries.len().saturating_sub(RECENT)) {
            self.recent.push_back(Plain::from(&entry.message));
        }
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        self.last = piece.entries.last().map(|entry| entry.cursor.clone()).or(self.last.take());
        Ok(())
    }
}

async fn piece(agent: &Agent, path: &str, json: bool) -> Result<Piece, ClientError> {
    let answer = agent.get(path).await?;
    let Page { entries, cursor: next } = answer.read()?;
    let raw = if json { answer.read::<Page<Value>>()?.entries } else { Vec::new() };
    Ok(Piece { raw, entries, next })
}

/// Prints the lines that are there.
pub(super) async fn print(agent: &Agent, lines: &Lines, json: bool) -> Result<Printed, Failure> {
    let mut printed = Printed::default();
    match lines.count() {
        Count::All => print_forward(agent, lines, json, usize::MAX, None, &mut printed).await?,
        Count::Newest(newest) => print_newest(agent, lines, json, newest, &mut printed).await?,
    }
    Ok(printed)
}

/// Prints at most `most` lines behind `cursor`, or from the oldest on.
async fn print_forward(
    agent: &Agent,
    lines: &Lines,
    json: bool,
    most: usize,
    mut cursor: Option<String>,
    printed: &mut Printed,
) -> Result<(), Failure> {
    let mut lacking = most;
    while lacking > 0 {
        let piece = piece(agent, &lines.path(lacking.min(PAGE), cursor.as_deref(), true), json).await?;
        printed.print(&piece, json)?;
        lacking -= piece.entries.len().min(lacking);
        cursor = piece.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(())
}

/// Prints the newest lines. They are found from the last one back, and printed from the first one on.
async fn print_newest(
    agent: &Agent,
    lines: &Lines,
    json: bool,
    newest: usize,
    printed: &mut Printed,
) -> Result<(), Failure> {
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut lacking, mut held, mut let_go) = (newest, 0, 0);
    let mut cursor: Option<String> = None;
    while lacking > 0 {
        let piece = piece(agent, &lines.path(lacking.min(PAGE), cursor.as_deref(), false), json).await?;
        lacking -= piece.entries.len().min(lacking);
        cursor.clone_from(&piece.next);
        if !piece.entries.is_empty() {
            held += piece.entries.iter().map(LogEntry::size).sum::<usize>();
            if held > HELD {
                let_go += pieces.drain(..).map(|piece| piece.entries.len()).sum::<usize>();
                held = piece.entries.iter().map(LogEntry::size).sum();
            }
            pieces.push(piece);
        }
        if cursor.is_none() {
            break;
        }
    }
    for piece in pieces.iter().rev() {
        printed.print(piece, json)?;
    }
    drop(pieces);
    let behind = printed.last.clone();
    print_forward(agent, lines, json, let_go, behind, printed).await
}

/// Prints the lines that are there, and for a person why there are none, or what isn't among them.
pub(super) async fn print_and_explain(agent: &Agent, lines: &Lines, json: bool) -> Result<(), Failure> {
    let printed = print(agent, lines, json).await?;
    if json {
        return Ok(());
    }
    if printed.last.is_none() && lines.count() != Count::Newest(0) {
        let name = Plain::from(&lines.name);
        let what = if lines.are_all() { "there are no lines of" } else { "no line fits of" };
        show::note(json, &format!("{what} `{name}` in the journal"))?;
    }
    if lines.are_all() {
        tell_why_not_started(agent, &lines.name, &printed).await?;
    }
    Ok(())
}

/// Where the newest deployment could not start its program, what its unit says of that is no line of the program's.
async fn tell_why_not_started(agent: &Agent, name: &str, printed: &Printed) -> Result<(), Failure> {
    let service: Service = agent.get(&format!("/services/{}", segment(name))).await?.read()?;
    let Some(Deployment { id, state: DeploymentState::Failed, problem: Some(problem), tail: Some(tail), .. }) =
        service.last_deployment
    else {
        return Ok(());
    };
    let mut said = tail.lines().map(Plain::from).filter(|line| !printed.recent.contains(line)).peekable();
    if problem.code != Code::StartFailed || said.peek().is_none() {
        return Ok(());
    }
    let mut err = show::err();
    writeln!(err, "podkeeper: deployment {id} did not start: {}", Plain::from(problem.detail))?;
    for line in said {
        writeln!(err, "  | {line}")?;
    }
    if let Some(hint) = problem.hint {
        writeln!(err, "Next: {}", Plain::from(hint))?;
    }
    Ok(())
}
