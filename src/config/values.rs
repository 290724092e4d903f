//! Values that no type of theirs reads.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::names::ImageRef;

/// A length of time such as `"30s"`, `"15m"`, `"1h"`, `"7d"` or `"500ms"`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let wanted = || {
        serde::de::Error::custom("a length of time is a number with its unit, such as \"30s\", \"15m\" or \"500ms\"")
    };
    let text = String::deserialize(deserializer).map_err(|_| wanted())?;
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let parsed = number.parse::<u64>().ok().and_then(|n| match unit {
        "ms" => Some(Duration::from_millis(n)),
        "s" => Some(Duration::from_secs(n)),
        "m" => n.checked_mul(60).map(Duration::from_secs),
        "h" => n.checked_mul(3600).map(Duration::from_secs),
        "d" => n.checked_mul(24 * 3600).map(Duration::from_secs),
        _ => None,
    });
    parsed.ok_or_else(wanted)
}

/// An image, or an empty text.
pub(super) fn image<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ImageRef>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}
