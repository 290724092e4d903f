//! `/status`: how the services are, then each change, each client at its own pace.

use serde_json::json;
use socketioxide::extract::SocketRef;
use tokio::sync::watch;
use tokio::time::sleep;

use super::call::{Answer, Call, Payload};
use super::channel::{AGAIN, Gone, emit, told};
use super::client::{Client, Subject};
use super::feed::{View, Wanted};
use super::state::State;
use crate::api::live::{AllFigures, Stats};
use crate::problem::{Code, Problem};

impl Payload for Stats {
    async fn subject(&self, _: &State) -> Result<Subject, Problem> {
        Ok(Subject::Own)
    }
}

pub(super) async fn stats(call: Call, stats: Stats) -> Result<Answer, Problem> {
    call.client.wants_stats().send_replace(stats.on);
    Ok(Answer::from(json!({})))
}

/// Shows `client` how everything is until it is gone or the agent stops.
pub(super) async fn show(client: Client, socket: SocketRef) {
    let showing = async {
        tokio::select! {
            biased;
            () = client.state().stopping().cancelled() => {
                let stopping = Problem::new(Code::Restarting, "the agent is stopping");
                emit(&socket, "closed", &told(&stopping)).await
            }
            ended = changes(&client, &socket) => ended,
        }
    };
    let _ = client.gone().run_until_cancelled(showing).await;
}

async fn changes(client: &Client, socket: &SocketRef) -> Result<(), Gone> {
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
                wanted = wants.borrow_and_update().then(|| Wanted::new(feed));
            }
            _ = figures.changed(), if wanted.is_some() => {
                let message = {
                    let figures = figures.borrow_and_update();
                    let services = figures.iter().filter(|(name, _)| client.sees(name)).collect();
                    json!(AllFigures { services })
                };
                emit(socket, "stats", &message).await?;
            }
            sent = news(&mut view, &mut seen, client, socket) => sent?,
        }
    }
}

/// Waits for what the client has not seen, and sends one message of it.
async fn news(
    view: &mut watch::Receiver<View>,
    seen: &mut Option<u64>,
    client: &Client,
    socket: &SocketRef,
) -> Result<(), Gone> {
    loop {
        // What waits in the connection's buffer would be old when it is read, and a new state doesn't replace it there.
        while client.state().is_full(socket) {
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
            emit(socket, event, &data).await?;
            *seen = Some(number);
            return Ok(());
        }
        if view.changed().await.is_err() {
            return Err(Gone);
        }
    }
}
