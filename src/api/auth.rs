//! Sessions.

use jiff::Timestamp;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::store;

/// What signs a browser in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// An API token.
    pub token: SecretText,
}

/// A text that is shown to nobody.
#[derive(Debug)]
pub struct SecretText(pub SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// A signed-in browser.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// The token that it was signed in with.
    pub token: String,
    /// What the browser says of itself.
    pub client: String,
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

impl From<store::Session> for Session {
    fn from(session: store::Session) -> Self {
        Self {
            id: session.id,
            token: session.token,
            client: session.client,
            created: session.created,
            last_seen: session.last_seen,
            expires: session.expires,
        }
    }
}
