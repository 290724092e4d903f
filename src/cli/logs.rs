//! `podkeeper logs`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::client::{Agent, ClientError, segment};
use super::show::second;
use super::{Outcome, events, moments, show};

/// How long to wait before a stream that broke is opened again, and how often in a row.
const AGAIN: Duration = Duration::from_secs(1);
const TRIES: u32 = 30;
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
        usize::try_from(self.lines.clamp(1, 10_000)).unwrap_or(1)
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

fn print(entry: &Value, json: bool) -> std::io::Result<()> {
    let mut out = show::out();
    if json {
        return writeln!(out, "{entry}");
    }
    // A line's own colours stay: that is how its program wrote it.
    writeln!(out, "{} {}", second(&entry["time"]), entry["message"].as_str().unwrap_or_default())?;
    out.flush()
}

/// Prints a service's lines. A stream that breaks goes on at the line where it broke.
pub async fn run(agent: &Agent, lines: &Lines, json: bool) -> Outcome {
    if !lines.follow {
        return history(agent, lines, json).await;
    }
    let (mut cursor, mut begun, mut tries) = (None, false, 0);
    loop {
        // One that has shown nothing yet found nothing: all that there is came since.
        let since_the_first = begun && cursor.is_none();
        let path = lines.path(lines.wanted(), None, since_the_first);
        let ended = match agent.events(&path, cursor.as_deref()).await {
            Ok(stream) => {
                (begun, tries) = (true, 0);
                let take = |entry: &Value| {
                    print(entry, json)?;
                    cursor = entry["cursor"].as_str().map(str::to_owned);
                    Ok(())
                };
                events::each(stream, take).await
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = ended {
            // Only a stream that had begun is opened again: a wrong address is told at once.
            let is_away = error.downcast_ref::<ClientError>().is_some_and(ClientError::is_away);
            if !is_away || tries >= TRIES || !begun {
                return Err(error);
            }
        }
        tries += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Prints the newest lines that are there. Long ones come by several answers.
async fn history(agent: &Agent, lines: &Lines, json: bool) -> Outcome {
    let mut pages: Vec<Vec<Value>> = Vec::new();
    let (mut lacking, mut held) = (lines.wanted(), 0);
    let mut cursor = None;
    loop {
        let mut page = agent.call(Method::GET, &lines.path(lacking, cursor.as_deref(), false), None).await?;
        let Value::Array(entries) = page["entries"].take() else { return Err(ClientError::Broken.into()) };
        lacking -= entries.len().min(lacking);
        held += entries.iter().map(|entry| entry["message"].as_str().map_or(0, str::len)).sum::<usize>();
        pages.push(entries);
        cursor = page["cursor"].as_str().map(str::to_owned);
        if lacking == 0 || cursor.is_none() || held > HELD {
            break;
        }
    }
    for entry in pages.iter().rev().flatten() {
        print(entry, json)?;
    }
    if lacking > 0 && cursor.is_some() {
        writeln!(show::err(), "podkeeper: {lacking} lines before these are too long to be shown with them")?;
    }
    Ok(ExitCode::SUCCESS)
}
