//! `podkeeper logs`: the lines that are there, and those that come.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::client::{Agent, ClientError};
use super::lines::{Count, Lines, PAGE};
use super::options::Outcome;
use super::{events, history, show};
use crate::api::logs::LogEntry;

/// How long to wait before a stream that broke is opened again.
const AGAIN: Duration = Duration::from_secs(1);
/// For how long the agent may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints a service's lines.
pub async fn run(agent: &Agent, lines: &Lines, json: bool) -> Outcome {
    if lines.follow() {
        return follow(agent, lines, json).await;
    }
    history::print_and_explain(agent, lines, json).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the lines that are there, and those that come. A stream that breaks goes on at the line where it broke.
async fn follow(agent: &Agent, lines: &Lines, json: bool) -> Outcome {
    let (mut cursor, mut begun, mut away) = (None, false, None);
    let newest = match lines.count() {
        Count::Newest(newest) if newest <= PAGE => newest,
        // More than a stream begins with.
        _ => {
            (cursor, begun) = (history::print(agent, lines, json).await?.last, true);
            PAGE
        }
    };
    loop {
        // One that has shown nothing yet found nothing: all that there is came since.
        let since_the_first = begun && cursor.is_none();
        let path = format!("{}&follow=true", lines.path(newest, None, since_the_first));
        let ended = match agent.events(&path, cursor.as_deref()).await {
            Ok(stream) => {
                begun = true;
                let opened = Instant::now();
                let take = |raw: &str, entry: LogEntry| {
                    history::print_line(raw, &entry, json)?;
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
                    show::note(json, "the agent is away; the lines go on when it is back")?;
                }
                Some(since) if since.elapsed() >= PATIENCE => return Err(error),
                Some(_) => {}
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
