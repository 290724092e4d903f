//! The units' changes as they happen.

use std::num::NonZero;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use zbus::{MatchRule, MessageStream};

use super::UserManager;
use super::names::unit_of_path;

/// How long to wait before the bus is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Something about a unit changed; what it is must be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitChange {
    /// The unit.
    pub unit: String,
}

impl UserManager {
    /// Every change of a service unit, for ever: after the manager was away it goes on by itself, and what changed in
    /// between is for the listener to look up.
    pub fn watch(&self) -> impl Stream<Item = UnitChange> + use<> {
        let (changes, receiver) = mpsc::channel(256);
        let manager = self.clone();
        tokio::spawn(async move {
            while !changes.is_closed() {
                manager.pump(&changes).await;
                tokio::time::sleep(AGAIN).await;
            }
        });
        ReceiverStream::new(receiver)
    }

    async fn pump(&self, changes: &mpsc::Sender<UnitChange>) {
        let Ok(connection) = self.connection().await else { return };
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path_namespace("/org/freedesktop/systemd1/unit")
            .arg(0, "org.freedesktop.systemd1.Service")
            .build();
        let Ok(rule) = rule else { return };
        let queue = NonZero::new(256);
        let Ok(mut signals) = MessageStream::for_match_rule(rule, &connection, queue).await else { return };
        loop {
            let message = tokio::select! {
                message = signals.next() => message,
                () = changes.closed() => return,
            };
            let Some(Ok(message)) = message else { return };
            let unit = message.header().path().and_then(|path| unit_of_path(path.as_str()));
            if let Some(unit) = unit
                && changes.send(UnitChange { unit }).await.is_err()
            {
                return;
            }
        }
    }
}
