//! GitHub, and the forges that took its payload over: Gitea, Forgejo and Gogs.

use serde::Deserialize;

use super::delivery::{
    Change, Delivery, DeliveryContent, DeliveryEvent, HookError, Sender, SentCommit, event, id, payload,
};

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
    /// None where the ref is gone. Gogs tells none.
    head_commit: Option<SentCommit>,
    commits: Option<Vec<SentCommit>>,
}

pub(super) fn read(sender: Sender, delivery: Delivery<'_>) -> Result<DeliveryContent, HookError> {
    let prefix = sender.as_str();
    let event = event(delivery.headers, &format!("x-{prefix}-event"));
    let id = id(delivery.headers, &[&format!("x-{prefix}-delivery")])?;
    let news = match event.as_str() {
        "push" => {
            let push: Push = payload(sender, delivery)?;
            let mut commits = push.commits.unwrap_or_default();
            commits.extend(push.head_commit);
            DeliveryEvent::Pushed(vec![Change::new(&push.reference, &push.after).marked(&commits)])
        }
        "ping" => DeliveryEvent::Ping,
        _ => DeliveryEvent::Other,
    };
    Ok(DeliveryContent { event, id, news })
}
