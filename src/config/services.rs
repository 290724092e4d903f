//! What services may take.

use std::time::Duration;

use serde::Deserialize;

use super::values::duration;

/// Services and their releases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    /// The first port that a release may have on the host's loopback.
    pub first_port: u16,
    /// The last one.
    pub last_port: u16,
    /// How many releases of a service are kept.
    pub keep: u32,
    /// How long a new release may take until it is healthy.
    #[serde(deserialize_with = "duration")]
    pub health_timeout: Duration,
    /// How long the proxy may take to see a new route, until the old release loses its own.
    #[serde(deserialize_with = "duration")]
    pub settle: Duration,
    /// How long an old release goes on after traffic has moved.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
    /// How long between two looks at everything, for what a crash, an administrator or a lost event left undone.
    #[serde(deserialize_with = "duration")]
    pub maintenance: Duration,
    /// How many services the host takes.
    pub max: u32,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            first_port: 20000,
            last_port: 29999,
            keep: 5,
            health_timeout: Duration::from_secs(30),
            settle: Duration::from_millis(200),
            drain: Duration::from_secs(10),
            maintenance: Duration::from_secs(60),
            max: 500,
        }
    }
}
