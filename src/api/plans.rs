//! What a change of settings would do, where only that is asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::listed;
use super::services::ChangedService;
use super::settings::Settings;
use crate::names::BranchName;
use crate::words::words;

words! {
    /// When a change of a setting counts.
    Counts {
        /// At once, for what runs, too. Nothing is restarted for it.
        Now = "now",
        /// With the next release: one keeps the settings that it was made with.
        NextRelease = "next-release",
        /// With the next build.
        NextBuild = "next-build",
    }
}

listed! { Counts, }

/// When a change of this setting counts, or of the branch, which stands beside them.
#[must_use]
pub fn counts(setting: &str) -> Counts {
    match setting {
        "domains" | "keep" | "skip_marks" | "watch" => Counts::Now,
        "branch" | "root" | "containerfile" | "build_args" | "build_env" | "build_secrets" => Counts::NextBuild,
        _ => Counts::NextRelease,
    }
}

/// How to change settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Only tell what the change would do. Any value sets it but `false`, `0`, `no`, `null` and an empty one.
    #[serde(default, deserialize_with = "super::fields::is_set")]
    pub dry_run: bool,
}

/// What a change of settings would do.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Plan {
    /// The settings that would be others, the branch among them, by name; what would stay as it is isn't here.
    pub changes: BTreeMap<String, Changed>,
    /// Whether what runs would be restarted.
    pub restarts: bool,
}

/// A setting that would be another.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Changed {
    /// What it is.
    pub before: Value,
    /// What it would be.
    pub after: Value,
    /// When that counts.
    pub counts: Counts,
}

impl Plan {
    /// What lies between two settings, each with its branch. No change of them restarts anything.
    #[must_use]
    pub fn between(before: (&Settings, &BranchName), after: (&Settings, &BranchName)) -> Self {
        let fields = |(settings, branch): (&Settings, &BranchName)| {
            let mut fields = match serde_json::to_value(settings) {
                Ok(Value::Object(fields)) => fields,
                _ => Map::new(),
            };
            fields.insert("branch".into(), branch.as_str().into());
            fields
        };
        let (mut before, after) = (fields(before), fields(after));
        let pairs = after.into_iter().map(|(key, after)| (before.remove(&key).unwrap_or(Value::Null), key, after));
        let changes = pairs.filter(|(before, _, after)| before != after).map(|(before, key, after)| {
            let counts = counts(&key);
            (key, Changed { before, after, counts })
        });
        Self { changes: changes.collect(), restarts: false }
    }
}

/// What a change of a service's settings is answered with.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum SettingsChange {
    /// What it would do, where only that was asked.
    Plan(Plan),
    /// The service as it is set by then.
    Done(Box<ChangedService>),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_has_what_would_be_another_and_when_that_counts() {
        let settings = |value: Value| serde_json::from_value::<Settings>(value).unwrap();
        let (main, trunk): (BranchName, BranchName) = ("main".parse().unwrap(), "trunk".parse().unwrap());
        let before = settings(json!({"keep": 3, "memory_mib": 64, "domains": ["a.example"]}));
        let after = settings(json!({"keep": 3, "domains": []}));
        let plan = json!(Plan::between((&before, &main), (&after, &trunk)));
        let changes = json!({
            "branch": {"before": "main", "after": "trunk", "counts": "next-build"},
            "domains": {"before": ["a.example"], "after": [], "counts": "now"},
            "memory_mib": {"before": 64, "after": null, "counts": "next-release"},
        });
        assert_eq!(plan, json!({"changes": changes, "restarts": false}));
        assert!(Plan::between((&before, &main), (&before, &main)).changes.is_empty());
    }
}
