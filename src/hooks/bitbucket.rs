//! Bitbucket: Cloud, and Server with Data Center, whose payloads have nothing in common.

use serde::Deserialize;

use super::delivery::{
    Change, Delivery, DeliveryContent, DeliveryEvent, HookError, Reference, Sender, event, id, payload,
};

const EVENT: &str = "x-event-key";

#[derive(Deserialize)]
struct CloudPush {
    push: CloudChanges,
}

#[derive(Deserialize)]
struct CloudChanges {
    changes: Vec<CloudChange>,
}

#[derive(Deserialize)]
struct CloudChange {
    /// None: it is gone.
    new: Option<CloudReference>,
    /// None: it is new.
    old: Option<CloudReference>,
}

#[derive(Deserialize)]
struct CloudReference {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

impl CloudChange {
    fn change(self) -> Option<Change> {
        let gone = self.new.is_none();
        let CloudReference { kind, name } = self.new.or(self.old)?;
        let reference = match kind.as_str() {
            "branch" | "named_branch" => Reference::Branch(name),
            "tag" | "annotated_tag" => Reference::Tag(name),
            _ => Reference::Other(name),
        };
        Some(Change { reference, gone })
    }
}

pub(super) fn read_cloud(delivery: Delivery<'_>) -> Result<DeliveryContent, HookError> {
    let event = event(delivery.headers, EVENT);
    let id = id(delivery.headers, &["x-request-uuid"])?;
    let news = match event.as_str() {
        "repo:push" => {
            let CloudPush { push } = payload(Sender::BitbucketCloud, delivery)?;
            DeliveryEvent::Pushed(push.changes.into_iter().filter_map(CloudChange::change).collect())
        }
        "diagnostics:ping" => DeliveryEvent::Ping,
        _ => DeliveryEvent::Other,
    };
    Ok(DeliveryContent { event, id, news })
}

#[derive(Deserialize)]
struct ServerPush {
    changes: Vec<ServerChange>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServerChange {
    #[serde(rename = "ref")]
    reference: ServerReference,
    to_hash: String,
}

#[derive(Deserialize)]
struct ServerReference {
    id: String,
}

pub(super) fn read_server(delivery: Delivery<'_>) -> Result<DeliveryContent, HookError> {
    let event = event(delivery.headers, EVENT);
    let id = id(delivery.headers, &["x-request-id"])?;
    let news = match event.as_str() {
        "repo:refs_changed" => {
            let push: ServerPush = payload(Sender::BitbucketServer, delivery)?;
            let changes = push.changes.iter().map(|change| Change::new(&change.reference.id, &change.to_hash));
            DeliveryEvent::Pushed(changes.collect())
        }
        "diagnostics:ping" => DeliveryEvent::Ping,
        _ => DeliveryEvent::Other,
    };
    Ok(DeliveryContent { event, id, news })
}
