//! Signing in.

use std::time::Duration;

use serde::Deserialize;

use super::values::duration;

/// Signing in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// How long a session lasts that nobody uses.
    #[serde(deserialize_with = "duration")]
    pub session_idle: Duration,
    /// How long a session lasts at all.
    #[serde(deserialize_with = "duration")]
    pub session_max: Duration,
    /// How long a browser may take to answer with a passkey.
    #[serde(deserialize_with = "duration")]
    pub ceremony: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            session_idle: Duration::from_secs(7 * 24 * 3600),
            session_max: Duration::from_secs(30 * 24 * 3600),
            ceremony: Duration::from_secs(5 * 60),
        }
    }
}
