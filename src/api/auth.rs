//! Passkeys and sessions.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{self, SecretText};
use crate::names::{Scope, ServiceName, SignInId};
use crate::store;

/// What signs a browser in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// An API token.
    pub token: SecretText,
}

/// A signed-in browser.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// The token or the passkey that it was signed in with, as `token:NAME` or `passkey:NAME`.
    pub actor: String,
    /// What the browser says of itself.
    pub client: String,
    /// Where it was last seen.
    pub address: String,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When it began.
    #[schemars(with = "super::fields::Moment")]
    pub created: Timestamp,
    /// When it was last used, to the minute.
    #[schemars(with = "super::fields::Moment")]
    pub last_seen: Timestamp,
    /// When it ends.
    #[schemars(with = "super::fields::Moment")]
    pub expires: Timestamp,
}

impl Session {
    /// `current` is the session that asks.
    #[must_use]
    pub fn of(session: store::Session, current: Option<SignInId>) -> Self {
        Self {
            id: session.id.0,
            actor: session.actor.to_string(),
            client: session.client,
            address: session.address,
            current: current == Some(session.id),
            created: session.created,
            last_seen: session.last_seen,
            expires: session.expires,
        }
    }
}

/// Which sessions end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndSessions {
    /// All but the one that asks.
    #[serde(default, deserialize_with = "fields::flag")]
    pub others: bool,
}

/// A browser's answer to registration options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterPasskey {
    /// The credential's id, as base64url.
    pub id: String,
    /// The browser's `RegistrationResponseJSON`, which carries the public key.
    #[serde(deserialize_with = "fields::json")]
    pub key: Value,
    /// What its owner calls it.
    #[serde(default)]
    pub name: Option<String>,
}

/// A browser's answer to login options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The browser's `AuthenticationResponseJSON`.
    #[serde(deserialize_with = "fields::json")]
    pub key: Value,
}

/// A passkey's new name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenamePasskey {
    /// 1 to 64 characters.
    pub name: String,
}

/// A passkey.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Passkey {
    /// The credential's id, as base64url.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// The host that it is for, and no other.
    pub host: String,
    /// How the browser says that its authenticator is reached.
    pub transports: Vec<String>,
    /// Whether it may be copied to its owner's other devices.
    pub backup_eligible: bool,
    /// Whether it has been.
    pub backed_up: bool,
    /// When it was made.
    #[schemars(with = "super::fields::Moment")]
    pub created: Timestamp,
    /// When it last signed somebody in.
    #[schemars(with = "Option<super::fields::Moment>")]
    pub last_used: Option<Timestamp>,
}

impl From<store::Passkey> for Passkey {
    fn from(passkey: store::Passkey) -> Self {
        Self {
            id: BASE64URL_NOPAD.encode(&passkey.credential),
            name: passkey.name.into(),
            host: passkey.rp_id,
            transports: passkey.transports,
            backup_eligible: passkey.authenticator.backup_eligible,
            backed_up: passkey.authenticator.backup_state,
            created: passkey.created,
            last_used: passkey.last_used,
        }
    }
}

/// Who asks.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Who {
    /// As it is written beside what it does.
    pub actor: String,
    /// What it may do.
    pub scope: Scope,
    /// To this service only.
    pub service: Option<ServiceName>,
    /// The session's number, where there is one.
    pub session: Option<i64>,
    /// When its session or token ends.
    #[schemars(with = "Option<super::fields::Moment>")]
    pub ends: Option<Timestamp>,
}

/// An enrolment link.
#[derive(Deserialize, JsonSchema, Serialize)]
pub struct Enrolment {
    /// The link, shown this once.
    pub url: String,
    /// When it ends.
    #[schemars(with = "super::fields::Moment")]
    pub expires: Timestamp,
}
