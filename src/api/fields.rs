//! Values that arrive as JSON, as a query or as a form: in the last two everything is text.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

/// A text that is shown to nobody.
#[derive(Debug)]
pub struct SecretText(pub SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// Yes or no: a JSON boolean, or as text `true`, `1`, `yes`, `on`, `false`, `0`, `no`, `off`, and nothing for no. What is
/// none of these is refused, since a typo must not take anything away. Where the field isn't there, `serde(default)` makes
/// it false.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    is_yes(&Value::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("true or false is wanted"))
}

/// Whether a value is set, of a flag that takes nothing away: any is but false, 0, `no`, null and an empty one.
pub fn is_set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(match &value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.trim().to_ascii_lowercase().as_str(), "" | "false" | "0" | "no" | "null"),
        Value::Bool(flag) => *flag,
    })
}

/// The same, where it matters whether the field is there.
pub fn maybe_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    flag(deserializer).map(Some)
}

fn is_yes(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_u64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A JSON value, or the same as text.
pub fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => serde_json::from_str(&text).map_err(|_| D::Error::custom("a JSON object is wanted")),
        value => Ok(value),
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

/// A moment (RFC 3339).
pub fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let wanted = |_| D::Error::custom("a moment is wanted, such as 2026-01-31T08:00:00Z");
    text.map(|text| text.parse()).transpose().map_err(wanted)
}

/// A moment (RFC 3339), in the interface's description.
pub struct Moment;

impl schemars::JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// Says in the interface's description that these types are like those.
macro_rules! described_as {
    ($($type:ty => $like:ty,)+) => {
        $(impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$like as schemars::JsonSchema>::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$like as schemars::JsonSchema>::json_schema(generator)
            }
        })+
    };
}

pub(super) use described_as;

described_as! {
    SecretText => String,
    crate::names::ServiceName => String,
    crate::names::BranchName => String,
    crate::names::CommitId => String,
    crate::names::HealthPath => String,
    crate::names::HostName => String,
    crate::names::VolumeName => String,
    crate::names::RepoPath => String,
}

/// Says in the interface's description that these types are one word of a closed list.
macro_rules! listed {
    ($($type:ty,)+) => {
        $(impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                std::any::type_name::<Self>().into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words = <$type>::ALL.map(|one| one.as_str());
                schemars::json_schema!({ "type": "string", "enum": words.as_slice() })
            }
        })+
    };
}

pub(super) use listed;

impl schemars::JsonSchema for crate::names::ContainerPort {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        std::any::type_name::<Self>().into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": u16::MAX }, { "const": Self::NONE }]
        })
    }
}

listed! {
    crate::hooks::Sender,
    crate::names::Scope,
    crate::names::StopSignal,
    crate::names::Strategy,
    crate::problem::Code,
    crate::services::limits::Limit,
    crate::store::Cause,
    crate::store::Outcome,
    crate::store::DeploymentState,
}

/// Says in the interface's description that these types are numbers from 1 on.
macro_rules! counted {
    ($($type:ty: $format:literal to $most:expr,)+) => {
        $(impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                std::any::type_name::<Self>().into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "integer", "format": $format, "minimum": 1, "maximum": $most })
            }
        })+
    };
}

counted! {
    crate::names::DeploymentId: "int64" to i64::MAX,
    crate::names::ReleaseNumber: "uint32" to u32::MAX,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_names_its_field() {
        let told = |value| crate::decode::read::<crate::api::logs::Logs>(value).unwrap_err().to_string();
        assert!(told(json!({ "since": "yesterday" })).starts_with("`since`: a moment is wanted"));
        assert_eq!(told(json!({ "lines": "many" })), "`lines`: a whole number is wanted");
        assert!(told(json!({ "lnes": 5 })).starts_with("unknown field `lnes`; there are "));
    }

    #[test]
    fn what_counts_as_yes() {
        for value in [json!(true), json!(1), json!("1"), json!("yes"), json!("true"), json!("On")] {
            assert_eq!(is_yes(&value), Some(true), "{value}");
        }
        for value in [json!(false), json!(0), json!("0"), json!("no"), json!("False"), json!(""), json!(null)] {
            assert_eq!(is_yes(&value), Some(false), "{value}");
        }
        for value in [json!(2), json!(-1), json!(0.5), json!("maybe"), json!("fasle"), json!([]), json!({})] {
            assert_eq!(is_yes(&value), None, "{value}");
        }
    }

    #[test]
    fn what_counts_as_set() {
        for value in [json!(true), json!(1), json!(-2), json!("1"), json!("on"), json!("y"), json!("off"), json!([0])] {
            assert!(is_set(value.clone()).unwrap(), "{value}");
        }
        for value in [json!(false), json!(0), json!("0"), json!("No"), json!("FALSE"), json!(" "), json!("null")] {
            assert!(!is_set(value.clone()).unwrap(), "{value}");
        }
        for value in [json!(null), json!(""), json!([]), json!({})] {
            assert!(!is_set(value.clone()).unwrap(), "{value}");
        }
        // What takes something away is asked for in words that can't be mistyped.
        assert!(crate::decode::read::<crate::api::services::Remove>(json!({ "volumes": "fasle" })).is_err());
    }
}
