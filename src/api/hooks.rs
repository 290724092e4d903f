//! Hooks.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::SecretText;
use crate::hooks::Sender;
use crate::names::DeploymentId;
use crate::store::{self, DeploymentState, Outcome};

/// How many deliveries are shown.
pub const DELIVERIES: u32 = 50;

/// A service's hook.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Hook {
    /// Where a forge says that somebody pushed.
    pub url: String,
    /// The key that authorises it: a secret, a token, a signing token, or `key` in the address.
    pub key: String,
    /// The last deliveries, the newest first.
    #[schemars(length(max = DELIVERIES))]
    pub deliveries: Vec<Delivery>,
}

/// A delivery, or all those that showed a wrong key.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Delivery {
    /// When it came; of those with a wrong key the last.
    #[schemars(with = "super::fields::Moment")]
    pub received: Timestamp,
    /// The kind of forge that sent it.
    pub sender: Sender,
    /// The sender's word for what happened.
    pub event: String,
    /// The sender's number of it.
    pub id: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was ignored or refused.
    pub reason: Option<String>,
    /// The deployment that was queued for it.
    pub deployment: Option<DeploymentId>,
    /// How that one is now.
    pub state: Option<DeploymentState>,
}

impl From<store::HookDelivery> for Delivery {
    fn from(delivery: store::HookDelivery) -> Self {
        let store::HookDelivery { received, sender, event, id, outcome, reason, deployment } = delivery;
        let state = deployment.as_ref().map(|deployment| deployment.state);
        let sender = Sender::from_word(&sender).unwrap_or(Sender::Generic);
        let deployment = deployment.map(|deployment| deployment.id);
        Self { received, sender, event, id, outcome, reason, deployment, state }
    }
}

/// How to give a hook another key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// The key, where a forge has made it itself; a new one without it.
    pub key: Option<SecretText>,
}

/// What a delivery's address may hold. Forges send more, which nobody refuses.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct HookQuery {
    /// The hook's key, where it doesn't come as a header, a field or a signature.
    pub key: Option<String>,
    /// The branch or the ref that has moved; a build is wanted without it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// The answer to a delivery that deploys nothing.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HookAnswer {
    /// It concerns nothing that is deployed: why.
    Ignored(String),
    /// The sender tried the hook, and it is good: which service's it is.
    Ping(String),
}
