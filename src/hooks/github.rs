//! GitHub, and the forges that took its payload over: Gitea, Forgejo and Gogs.

use serde::Deserialize;

use super::delivery::{Change, Delivery, DeliveryContent, DeliveryEvent, HookError, Sender, event, id, payload};

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
}

pub(super) fn read(sender: Sender, delivery: Delivery<'_>) -> Result<DeliveryContent, HookError> {
    let prefix = sender.as_str();
    let event = event(delivery.headers, &format!("x-{prefix}-event"));
    let id = id(delivery.headers, &[&format!("x-{prefix}-delivery")])?;
    let news = match event.as_str() {
        "push" => {
            let push: Push = payload(sender, delivery)?;
            DeliveryEvent::Pushed(vec![Change::new(&push.reference, &push.after)])
        }
        "ping" => DeliveryEvent::Ping,
        _ => DeliveryEvent::Other,
    };
    Ok(DeliveryContent { event, id, news })
}
