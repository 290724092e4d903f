//! `podkeeper logs`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt;
use http::Method;
use serde_json::Value;

use super::Outcome;
use super::client::{Agent, ClientError, segment};

/// How long to wait before a stream that broke is opened again, and how often in a row.
const AGAIN: Duration = Duration::from_secs(1);
const TRIES: u32 = 30;
/// The largest event: a line of 1 MiB, each of its bytes escaped, and the same bytes encoded beside it.
const EVENT: usize = 8 << 20;

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
    /// Not before this moment, such as 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
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
    fn path(&self, cursor: Option<&str>) -> String {
        let mut path = format!("/services/{}/logs?lines={}", segment(&self.name), self.lines.clamp(1, 10_000));
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                path.push_str(&format!("&{key}={}", segment(&value)));
            }
        };
        add("since", self.since.clone());
        add("grep", self.grep.clone());
        add("priority", self.priority.map(|priority| priority.to_string()));
        add("release", self.release.map(|release| release.to_string()));
        add("cursor", cursor.map(str::to_owned));
        if cursor.is_some() {
            add("direction", Some("forward".into()));
        }
        if self.follow {
            add("follow", Some("true".into()));
        }
        path
    }
}

fn print(entry: &Value, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        return writeln!(out, "{entry}");
    }
    let time = entry["time"].as_str().unwrap_or_default();
    // A line's own colours stay: that is how its program wrote it.
    writeln!(out, "{} {}", time.get(..19).unwrap_or(time), entry["message"].as_str().unwrap_or_default())?;
    out.flush()
}

/// Prints a service's lines. A stream that breaks goes on at the line where it broke.
pub async fn run(agent: &Agent, lines: &Lines, json: bool) -> Outcome {
    if !lines.follow {
        let page = agent.call(Method::GET, &lines.path(None), None).await?;
        for entry in page["entries"].as_array().into_iter().flatten() {
            print(entry, json)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut cursor: Option<String> = None;
    let mut tries = 0;
    loop {
        match follow(agent, lines, json, &mut cursor, &mut tries).await {
            Ok(()) => {}
            // Only a stream that had begun is opened again: a wrong address is told at once.
            Err(error) => {
                let is_away = error.downcast_ref::<ClientError>().is_some_and(ClientError::is_away);
                if !is_away || tries >= TRIES || (cursor.is_none() && tries == 0) {
                    return Err(error);
                }
            }
        }
        tries += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

/// One stream to its end.
async fn follow(
    agent: &Agent,
    lines: &Lines,
    json: bool,
    cursor: &mut Option<String>,
    tries: &mut u32,
) -> Result<(), Box<dyn std::error::Error>> {
    let stream = agent.stream(&lines.path(cursor.as_deref()), "text/event-stream").await?;
    let mut stream = std::pin::pin!(stream);
    let mut events = Events::default();
    while let Some(bytes) = stream.next().await {
        for data in events.feed(&bytes?)? {
            let entry: Value = serde_json::from_str(&data).unwrap_or(Value::Null);
            if let Some(at) = entry["cursor"].as_str() {
                print(&entry, json)?;
                *cursor = Some(at.to_owned());
                *tries = 0;
            }
        }
    }
    Ok(())
}

/// Server-sent events, as much of them as the agent sends: the data of each.
#[derive(Debug, Default)]
struct Events {
    rest: Vec<u8>,
    /// How much of that holds no event's end.
    seen: usize,
}

impl Events {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, ClientError> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest[self.seen..].windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..self.seen + end + 2).collect();
            self.seen = 0;
            let text = String::from_utf8_lossy(&event).into_owned();
            events.extend(text.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned));
        }
        // Its end may have begun.
        self.seen = self.rest.len().saturating_sub(1);
        if self.rest.len() > EVENT { Err(ClientError::Broken) } else { Ok(events) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_any_pieces() {
        let text = "id: a\ndata: {\"é\":1}\n\n:\n\nid: b\ndata: 2\n\n";
        for size in 1..text.len() {
            let mut events = Events::default();
            let all: Vec<String> = text.as_bytes().chunks(size).flat_map(|piece| events.feed(piece).unwrap()).collect();
            assert_eq!(all, ["{\"é\":1}", "2"], "pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_not_kept() {
        let mut events = Events::default();
        let piece = vec![b'x'; 1 << 20];
        let fed = (0..1000).take_while(|_| events.feed(&piece).is_ok()).count();
        assert_eq!(fed, EVENT / piece.len());
    }
}
