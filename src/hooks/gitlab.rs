//! GitLab: project, group and system hooks.

use serde::Deserialize;

use super::delivery::{
    Change, Delivery, DeliveryContent, DeliveryEvent, HookError, Sender, SentCommit, event, id, payload,
};

#[derive(Deserialize)]
struct Kind {
    object_kind: Option<String>,
    /// System hooks have only this one.
    event_name: Option<String>,
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
    commits: Option<Vec<SentCommit>>,
}

pub(super) fn read(delivery: Delivery<'_>) -> Result<DeliveryContent, HookError> {
    let event = event(delivery.headers, "x-gitlab-event");
    let id = id(delivery.headers, &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"])?;
    let pushed = match event.as_str() {
        "Push Hook" | "Tag Push Hook" => true,
        "System Hook" => {
            let Kind { object_kind, event_name } = payload(Sender::GitLab, delivery)?;
            matches!(object_kind.or(event_name).as_deref(), Some("push" | "tag_push"))
        }
        _ => false,
    };
    let news = if pushed {
        let push: Push = payload(Sender::GitLab, delivery)?;
        let commits = push.commits.unwrap_or_default();
        DeliveryEvent::Pushed(vec![Change::new(&push.reference, &push.after).marked(&commits)])
    } else {
        DeliveryEvent::Other
    };
    Ok(DeliveryContent { event, id, news })
}
