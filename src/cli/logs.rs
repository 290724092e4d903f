//! `podkeeper logs`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Agent, ClientError, segment};
use super::options::{Failure, Outcome};
use super::show::second;
use super::{events, moments, show};
use crate::api::deployments::Deployment;
use crate::api::logs::{LINES, LogEntry};
use crate::api::services::Service;
use crate::problem::Code;
use crate::store::DeploymentState;
use crate::text::Plain;

/// How long to wait before a stream that broke is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// For how long the agent may be away.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much text of lines is held until the oldest is there.
const HELD: usize = 64 << 20;

/// Which lines.
#[derive(Debug, clap::Args)]
pub struct Lines {
    /// The service
    name: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// How many lines that were there before
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    lines: u32,
    /// Not before this: so long ago, such as 2h, or a day or moment, such as 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moments::past)]
    since: Option<Timestamp>,
    /// Only lines in which this regular expression finds something
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
    /// Only lines of this syslog priority or a graver one: 3 is what a program prints as an error
    #[arg(long, value_name = "0-7")]
    priority: Option<u8>,
    /// Only this release's lines
    #[arg(long, value_name = "NUMBER")]
    release: Option<u32>,
}

impl Lines {
    fn wanted(&self) -> usize {
        usize::try_from(u64::from(self.lines).clamp(*LINES.start(), *LINES.end())).unwrap_or(1)
    }

    /// Whether nothing is left out but what is older.
    fn are_all(&self) -> bool {
        self.since.is_none() && self.grep.is_none() && self.priority.is_none() && self.release.is_none()
    }

    fn path(&self, lines: usize, cursor: Option<&str>, forward: bool) -> String {
        let mut path = format!("/services/{}/logs?lines={lines}", segment(&self.name));
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={}", segment(&value)));
            }
        };
        add("since", self.since.map(|since| since.to_string()));
        add("grep", self.grep.clone());
        add("priority", self.priority.map(|priority| priority.to_string()));
        add("release", self.release.map(|release| release.to_string()));
        add("cursor", cursor.map(str::to_owned));
        add("direction", forward.then(|| "forward".into()));
        add("follow", self.follow.then(|| "true".into()));
        path
    }
}

/// Prints a line: as it came, or for a person.
fn print(raw: &str, entry: &LogEntry, json: bool) -> std::io::Result<()> {
    let mut out = show::out();
    if json {
        return writeln!(out, "{raw}");
    }
    // A line's own colours stay: that is how its program wrote it.
    writeln!(out, "{} {}", second(entry.time), entry.message)?;
    out.flush()
}

/// Prints a service's lines.
pub async fn run(agent: &Agent, lines: &Lines, json: bool) -> Outcome {
    if lines.follow { follow(agent, lines, json).await } else { history(agent, lines, json).await }
}

/// Prints the newest lines that are there, and those that come. A stream that breaks goes on at the line where it broke.
async fn follow(agent: &Agent, lines: &Lines, json: bool) -> Outcome {
    let (mut cursor, mut begun, mut away) = (None, false, None);
    loop {
        // One that has shown nothing yet found nothing: all that there is came since.
        let since_the_first = begun && cursor.is_none();
        let path = lines.path(lines.wanted(), None, since_the_first);
        let ended = match agent.events(&path, cursor.as_deref()).await {
            Ok(stream) => {
                begun = true;
                let opened = Instant::now();
                let take = |raw: &str, entry: LogEntry| {
                    print(raw, &entry, json)?;
                    (cursor, away) = (Some(entry.cursor), None);
                    Ok(())
                };
                let ended = events::each(stream, take).await;
                // It was back, though it had nothing to say.
                away = away.filter(|_| opened.elapsed() < AGAIN);
                ended
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = ended {
            // Only a stream that had begun is opened again: a wrong address is told at once.
            let is_away = error.downcast_ref::<ClientError>().is_some_and(ClientError::is_away);
            if !is_away || !begun {
                return Err(error);
            }
            match away {
                None => {
                    away = Some(Instant::now());
                    writeln!(show::err(), "podkeeper: the agent is away; the lines go on when it is back")?;
                }
                Some(since) if since.elapsed() >= PATIENCE => return Err(error),
                Some(_) => {}
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Where the newest deployment could not start its program, what its unit says of that is no line of the program's.
async fn tell_why_not_started<'a>(
    agent: &Agent,
    name: &str,
    shown: impl Iterator<Item = &'a LogEntry>,
) -> Result<(), Failure> {
    let service: Service = agent.get(&format!("/services/{}", segment(name))).await?.read()?;
    let Some(Deployment { id, state: DeploymentState::Failed, problem: Some(problem), tail: Some(tail), .. }) =
        service.last_deployment
    else {
        return Ok(());
    };
    let shown: BTreeSet<String> = shown.map(|entry| Plain::from(&entry.message).into()).collect();
    let mut said = tail.lines().map(Plain::from).filter(|line| !shown.contains(&**line)).peekable();
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

/// The lines of one answer, as they came and as they are read.
#[derive(Deserialize)]
struct Page<T> {
    entries: Vec<T>,
    cursor: Option<String>,
}

/// Prints the newest lines that are there. Long ones come by several answers.
async fn history(agent: &Agent, lines: &Lines, json: bool) -> Outcome {
    let mut pages: Vec<(Vec<Value>, Vec<LogEntry>)> = Vec::new();
    let (mut lacking, mut held) = (lines.wanted(), 0);
    let mut cursor = None;
    loop {
        let answer = agent.get(&lines.path(lacking, cursor.as_deref(), false)).await?;
        let page: Page<LogEntry> = answer.read()?;
        lacking -= page.entries.len().min(lacking);
        held += page.entries.iter().map(|entry| entry.message.len()).sum::<usize>();
        let raw = if json { answer.read::<Page<Value>>()?.entries } else { Vec::new() };
        pages.push((raw, page.entries));
        cursor = page.cursor;
        if lacking == 0 || cursor.is_none() || held > HELD {
            break;
        }
    }
    for (raw, entries) in pages.iter().rev() {
        for (number, entry) in entries.iter().enumerate() {
            print(&raw.get(number).map(Value::to_string).unwrap_or_default(), entry, json)?;
        }
    }
    if !json && lines.are_all() {
        tell_why_not_started(agent, &lines.name, pages.iter().flat_map(|(_, entries)| entries)).await?;
    }
    if lacking > 0 && cursor.is_some() {
        writeln!(show::err(), "podkeeper: {lacking} lines before these are too long to be shown with them")?;
    }
    Ok(ExitCode::SUCCESS)
}
