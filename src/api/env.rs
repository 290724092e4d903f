//! A service's environment.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deployments::Deployment;
use super::fields::{SecretText, described_as};

/// A change of the environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEnv {
    /// A text sets a variable, null removes it.
    pub env: EnvChanges,
    /// The whole set is replaced.
    #[serde(default, deserialize_with = "super::fields::flag")]
    pub replace: bool,
    /// Whether a running service gets a new release with it; true without it.
    #[serde(default, deserialize_with = "super::fields::maybe_flag")]
    pub restart: Option<bool>,
    /// Only tell what the update would do. Any value sets it but `false`, `0`, `no`, `null` and an empty one.
    #[serde(default, deserialize_with = "super::fields::is_set")]
    pub dry_run: bool,
}

/// The variables of a change. A form sends them as one field that holds the JSON object.
#[derive(Debug)]
pub struct EnvChanges(pub BTreeMap<String, Option<SecretText>>);

described_as! { EnvChanges => BTreeMap<String, Option<String>>, }

impl<'de> Deserialize<'de> for EnvChanges {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = Value::deserialize(deserializer)?;
        let value = match value {
            Value::String(text) => {
                serde_json::from_str(&text).map_err(|_| D::Error::custom("`env` must be a JSON object"))?
            }
            value => value,
        };
        // serde's own message would repeat the value, which is a secret.
        serde_json::from_value(value)
            .map(Self)
            .map_err(|_| D::Error::custom("`env` must be an object whose values are texts or null"))
    }
}

/// The environment of a service.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Env {
    /// The variables that were set.
    pub env: BTreeMap<String, String>,
    /// Those that the current release's image brings.
    pub image: BTreeMap<String, String>,
}

/// What an update of the environment did, where no release was begun with it, or with `dry_run` would do.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct EnvUpdated {
    /// The keys that are set after it.
    pub keys: Vec<String>,
    /// Whether anything of it is another than before.
    pub changed: bool,
    /// What it would do; none where it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<EnvPlan>,
}

/// What an update of the environment would do.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct EnvPlan {
    /// The keys whose value would be another, or that have none yet.
    pub set: Vec<String>,
    /// The keys that would be gone.
    pub removed: Vec<String>,
    /// Whether a release that has it would take the place of what runs.
    pub restarts: bool,
}

/// What an update of the environment began.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum EnvUpdate {
    /// A running service gets a release with it.
    Deployed(Box<Deployment>),
    /// Nothing: it is kept for the next release.
    Kept(EnvUpdated),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_of_the_environment_is_an_object_or_a_text_that_holds_one() {
        for body in [r#"{"env":{"A":"1","B":null}}"#, r#"{"env":"{\"A\":\"1\",\"B\":null}"}"#] {
            let update: UpdateEnv = serde_json::from_str(body).unwrap();
            assert_eq!(update.env.0.keys().collect::<Vec<_>>(), ["A", "B"]);
        }
        let error = serde_json::from_str::<UpdateEnv>(r#"{"env":{"A":["hunter2"]}}"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
