//! `/status`: how the services are, then each change, each client at its own pace.

use std::borrow::Cow;

use serde_json::json;
use socketioxide::extract::SocketRef;
use tokio::sync::watch;
use tokio::time::sleep;

use super::call::{Answer, Call, Payload};
use super::channel::{AGAIN, Channel, Gone};
use super::client::{Client, Work};
use super::feed::{FiguresSubscription, View};
use super::life::{End, Source, StreamKind, live};
use super::subject::About;
use crate::api::live::{AllFigures, Stats};
use crate::problem::Problem;

impl Payload for Stats {
    fn about(&self) -> Result<About, Problem> {
        Ok(About::Own)
    }
}

pub(super) async fn stats(call: Call, stats: Stats) -> Result<Answer, Problem> {
    call.client.wants_stats().send_replace(stats.on);
    Ok(Answer::from(json!({})))
}

/// What begins with the connection.
pub(super) fn begin(client: Client, socket: SocketRef) -> Work {
    let channel = client.streams().only(socket);
    let everything = Everything { client: client.clone() };
    Box::pin(live(client, None, channel, everything))
}

/// How everything is that a client may see.
struct Everything {
    client: Client,
}

impl Source for Everything {
    const KIND: StreamKind =
        StreamKind { closed: "closed", stopping: Some("the agent is stopping"), tells_leaver: false, has_code: false };

    async fn feed(&mut self, channel: &Channel) -> Result<End, Gone> {
        changes(&self.client, channel).await?;
        // It has no end of its own.
        Err(Gone)
    }
}

async fn changes(client: &Client, channel: &Channel) -> Result<(), Gone> {
    let feed = client.state().feed();
    let mut view = feed.view.subscribe();
    let mut figures = feed.figures.subscribe();
    let mut wants = client.wants_stats().subscribe();
    let mut wanted = None;
    if feed.ask(&mut view).await.is_err() {
        return Ok(());
    }
    // What has not been seen at all is a snapshot.
    let mut seen = None;
    loop {
        tokio::select! {
            changed = wants.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                // What was counted for somebody else before is old.
                figures.mark_unchanged();
                wanted = wants.borrow_and_update().then(|| FiguresSubscription::new(feed));
            }
            _ = figures.changed(), if wanted.is_some() => {
                let message = {
                    let figures = figures.borrow_and_update();
                    let seen = figures.iter().filter(|(name, _)| client.sees(name));
                    let services = seen.map(|(name, figures)| (Cow::Borrowed(name), Cow::Borrowed(figures))).collect();
                    json!(AllFigures { services })
                };
                channel.send("stats", &message).await?;
            }
            sent = news(&mut view, &mut seen, client, channel) => sent?,
        }
    }
}

/// Waits for what the client has not seen, and sends one message of it.
async fn news(
    view: &mut watch::Receiver<View>,
    seen: &mut Option<u64>,
    client: &Client,
    channel: &Channel,
) -> Result<(), Gone> {
    loop {
        // What waits in the connection's buffer would be old when it is read, and a new state doesn't replace it there.
        while client.state().is_full(channel.socket()) {
            sleep(AGAIN).await;
        }
        let message = {
            let view = view.borrow_and_update();
            match *seen {
                Some(seen) if seen >= view.forgotten => {
                    view.next(seen, |service| client.sees(service)).map(|(number, change)| (number, change.message()))
                }
                _ => Some((view.last, ("snapshot", view.snapshot(|service| client.sees(service))))),
            }
        };
        if let Some((number, (event, data))) = message {
            channel.send(event, &data).await?;
            *seen = Some(number);
            return Ok(());
        }
        if view.changed().await.is_err() {
            return Err(Gone);
        }
    }
}
