//! Bitbucket: Cloud, and Server with Data Center, whose payloads have nothing in common.

use serde::Deserialize;

use super::delivery::{
    Change, Delivery, DeliveryContent, DeliveryEvent, HookError, Reference, Sender, SentCommit, event, id, payload,
};
use super::skip::skip_mark;

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
    target: Option<CloudCommit>,
}

#[derive(Deserialize)]
struct CloudCommit {
    #[serde(default)]
    hash: String,
    #[serde(default)]
    message: String,
}

impl CloudChange {
    fn change(self) -> Option<Change> {
        let gone = self.new.is_none();
        let CloudReference { kind, name, target } = self.new.or(self.old)?;
        let target = target.filter(|_| !gone);
        let reference = match kind.as_str() {
            "branch" | "named_branch" => Reference::Branch(name),
            "tag" | "annotated_tag" => Reference::Tag(name),
            _ => Reference::Other(name),
        };
        let commit = target.as_ref().and_then(|target| target.hash.parse().ok());
        Some(Change { reference, gone, commit, skip: target.and_then(|target| skip_mark(&target.message)) })
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
#[serde(rename_all = "camelCase")]
struct ServerPush {
    changes: Vec<ServerChange>,
    /// Of newer servers alone.
    to_commit: Option<SentCommit>,
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
            let commits: Vec<SentCommit> = push.to_commit.into_iter().collect();
            let changes = push.changes.iter();
            let changes = changes.map(|change| Change::new(&change.reference.id, &change.to_hash).marked(&commits));
            DeliveryEvent::Pushed(changes.collect())
        }
        "diagnostics:ping" => DeliveryEvent::Ping,
        _ => DeliveryEvent::Other,
    };
    Ok(DeliveryContent { event, id, news })
}
