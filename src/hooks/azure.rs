//! Azure DevOps: service hooks of the kind "Web Hooks". They are not signed; the key comes as a header or in the address.

use serde::Deserialize;

use super::delivery::{Change, Delivery, DeliveryContent, DeliveryEvent, HookError, Sender, SentCommit, payload};
use crate::names::Excerpt;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    id: Option<String>,
    event_type: String,
}

#[derive(Deserialize)]
struct Push {
    resource: Resource,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    ref_updates: Vec<RefUpdate>,
    commits: Option<Vec<AzureCommit>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureCommit {
    #[serde(default)]
    commit_id: String,
    #[serde(default)]
    comment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefUpdate {
    name: String,
    new_object_id: String,
}

pub(super) fn read(delivery: Delivery<'_>) -> Result<DeliveryContent, HookError> {
    let Event { id, event_type } = payload(Sender::Azure, delivery)?;
    let id = id.as_deref().map(str::parse).transpose()?;
    let news = if event_type == "git.push" {
        let Push { resource } = payload(Sender::Azure, delivery)?;
        let commits = resource.commits.unwrap_or_default().into_iter();
        let commits: Vec<SentCommit> =
            commits.map(|AzureCommit { commit_id: id, comment: message }| SentCommit { id, message }).collect();
        let changes = resource.ref_updates.iter();
        let changes = changes.map(|update| Change::new(&update.name, &update.new_object_id).marked(&commits));
        DeliveryEvent::Pushed(changes.collect())
    } else {
        DeliveryEvent::Other
    };
    Ok(DeliveryContent { event: Excerpt::of(&event_type), id, news })
}
