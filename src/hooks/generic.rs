//! Anybody else: a script, a scheduler, a sender of Standard Webhooks. It may say which ref has moved, as `ref`; without
//! that it wants a build.

use serde::Deserialize;

use super::delivery::{
    Change, Delivery, DeliveryContent, DeliveryEvent, HookError, Reference, Sender, essence, id, is_form, parse,
};
use crate::names::Excerpt;

#[derive(Default, Deserialize)]
struct Said {
    /// A branch's short name, or a ref's whole one.
    #[serde(rename = "ref")]
    reference: Option<String>,
    /// The commit there now; all zeros where the ref is gone.
    after: Option<String>,
}

impl Said {
    fn of(delivery: Delivery<'_>) -> Result<Self, HookError> {
        if is_form(delivery.headers) {
            return Ok(Self::of_form(delivery.body));
        }
        let json = delivery.headers.get("content-type").is_some_and(|value| essence(value) == "application/json");
        if json && !delivery.body.is_empty() {
            return parse(Sender::Generic, delivery.body);
        }
        Ok(Self::of_form(delivery.query.as_bytes()))
    }

    fn of_form(form: &[u8]) -> Self {
        let mut said = Self::default();
        for (name, value) in form_urlencoded::parse(form) {
            match name.as_ref() {
                "ref" => said.reference = Some(value.into_owned()),
                "after" => said.after = Some(value.into_owned()),
                _ => {}
            }
        }
        said
    }
}

pub(super) fn read(delivery: Delivery<'_>) -> Result<DeliveryContent, HookError> {
    let id = id(delivery.headers, &["webhook-id", "idempotency-key"])?;
    let Said { reference, after } = Said::of(delivery)?;
    let news = match reference {
        None => DeliveryEvent::Wanted,
        Some(name) => {
            // Who names no commit says that there is one.
            let mut change = Change::new(&name, after.as_deref().unwrap_or("unknown"));
            if !name.starts_with("refs/") {
                change.reference = Reference::Branch(name);
            }
            DeliveryEvent::Pushed(vec![change])
        }
    };
    let event = if news == DeliveryEvent::Wanted { "build" } else { "push" };
    Ok(DeliveryContent { event: Excerpt::of(event), id, news })
}
