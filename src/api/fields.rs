//! Values that arrive as JSON, as a query or as a form: in the last two everything is text.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

/// Anything is true but `false`, `0`, `no`, the empty text and null. Where the field isn't there, `serde(default)`
/// makes it false.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(is_set(&Value::deserialize(deserializer)?))
}

/// The same, where it matters whether the field is there.
pub fn maybe_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    flag(deserializer).map(Some)
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "0" | "no"),
        _ => true,
    }
}

/// A whole number, as JSON or as text.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_u64().map(Some).ok_or_else(|| D::Error::custom("a whole number is wanted")),
        Value::String(text) => text.parse().map(Some).map_err(|_| D::Error::custom("a whole number is wanted")),
        _ => Err(D::Error::custom("a whole number is wanted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_counts_as_set() {
        for value in [json!(true), json!(1), json!("1"), json!("yes"), json!("true"), json!([])] {
            assert!(is_set(&value), "{value}");
        }
        for value in [json!(false), json!(0), json!("0"), json!("no"), json!("False"), json!(""), json!(null)] {
            assert!(!is_set(&value), "{value}");
        }
    }
}
