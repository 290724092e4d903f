//! How a service is set, and how that is changed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::decode::{self, Why};
use crate::names::{
    BuildArgs, BuildNames, ContainerPort, HealthPath, HostName, MOST_BUILD_NAMES, MOST_VOLUMES, MOST_WATCHED, RepoPath,
    StopSignal, Strategy, Volumes, Watch,
};
use crate::problem::Code;
use crate::store;

/// Ports that a program may listen on.
const PORTS: RangeInclusive<u64> = 1..=65_535;
/// Seconds that a new release may take.
const HEALTH_TIMEOUT: RangeInclusive<u64> = 1..=600;
/// Seconds between two runs of a health check.
const HEALTH_INTERVAL: RangeInclusive<u64> = 5..=3600;
/// Memory limits in MiB.
const MEMORY: RangeInclusive<u64> = 16..=1 << 24;
/// CPU limits in percent of one core.
const CPU: RangeInclusive<u64> = 1..=10_000;
/// Seconds that a program may take to stop.
const STOP_TIMEOUT: RangeInclusive<u64> = 1..=300;
/// How many host names a service may have beside its own.
const DOMAINS: usize = 50;
/// How many releases may be kept.
pub const KEEP: RangeInclusive<u64> = 1..=100;

/// How a service is set. Null, or a field that isn't there, means the host's default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The port that its program listens on in the container; `none`: it listens nowhere, the service has no address, and a
    /// release is live when it has run for a while without ending.
    pub container_port: Option<ContainerPort>,
    /// A path that must answer 2xx or 3xx before traffic moves.
    pub health_path: Option<HealthPath>,
    /// Seconds that a new release may take until it is healthy.
    #[schemars(range(min = *HEALTH_TIMEOUT.start(), max = *HEALTH_TIMEOUT.end()))]
    pub health_timeout: Option<u32>,
    /// Seconds between two runs of the image's HEALTHCHECK once a release is live.
    #[schemars(range(min = *HEALTH_INTERVAL.start(), max = *HEALTH_INTERVAL.end()))]
    pub health_interval: Option<u32>,
    /// It speaks no HTTP.
    pub tcp: bool,
    /// Memory limit in MiB.
    #[schemars(range(min = *MEMORY.start(), max = *MEMORY.end()))]
    pub memory_mib: Option<u64>,
    /// CPU limit in percent of one core.
    #[schemars(range(min = *CPU.start(), max = *CPU.end()))]
    pub cpu_percent: Option<u32>,
    /// Host names beside its own.
    #[schemars(length(max = DOMAINS))]
    pub domains: Vec<HostName>,
    /// Named volumes and where they are mounted.
    #[schemars(with = "BTreeMap<String, String>", extend("maxProperties" = MOST_VOLUMES))]
    pub volumes: Volumes,
    /// How a new release takes the place of the one before. `recreate`: that one stops first, and is started again where
    /// the new one fails. By itself `rolling`, but for images of servers that lock their data.
    pub strategy: Option<Strategy>,
    /// Seconds that its program may take to stop.
    #[schemars(range(min = *STOP_TIMEOUT.start(), max = *STOP_TIMEOUT.end()))]
    pub stop_timeout: Option<u32>,
    /// The signal that asks it to stop; by itself its image's STOPSIGNAL, or SIGTERM.
    pub stop_signal: Option<StopSignal>,
    /// How many releases are kept.
    #[schemars(range(min = *KEEP.start(), max = *KEEP.end()))]
    pub keep: Option<u32>,
    /// The folder of the repository that is built, from its top on.
    pub root: Option<RepoPath>,
    /// The file below that folder which says how it is built.
    pub containerfile: Option<RepoPath>,
    /// Patterns of the files, from the repository's top on, of which a push must change one so that it is deployed.
    #[schemars(with = "Vec<String>", length(max = MOST_WATCHED))]
    pub watch: Watch,
    /// What each build is given as arguments, for all to see: each name with its text.
    #[schemars(with = "BTreeMap<String, String>", extend("maxProperties" = MOST_BUILD_NAMES))]
    pub build_args: BuildArgs,
    /// The variables of the service that each build is given as arguments, which stay in the image's history.
    #[schemars(with = "Vec<String>", length(max = MOST_BUILD_NAMES))]
    pub build_env: BuildNames,
    /// The variables of the service that each build is given as secrets (`RUN --mount=type=secret,id=NAME`).
    #[schemars(with = "Vec<String>", length(max = MOST_BUILD_NAMES))]
    pub build_secrets: BuildNames,
    /// What the repository's `podkeeper.toml` says counts for more than what is set here.
    pub prefer_repository: bool,
    /// A pushed commit whose message has a mark such as `[skip ci]` is kept and not built.
    #[serde(default = "yes")]
    pub skip_marks: bool,
}

impl Default for Settings {
    fn default() -> Self {
        store::Settings::default().into()
    }
}

fn yes() -> bool {
    true
}

impl From<store::Settings> for Settings {
    fn from(settings: store::Settings) -> Self {
        let store::Settings {
            container_port,
            health_path,
            health_timeout,
            health_interval,
            tcp,
            memory_mib,
            cpu_percent,
            domains,
            volumes,
            strategy,
            stop_timeout,
            stop_signal,
            keep,
            root,
            containerfile,
            watch,
            build_args,
            build_env,
            build_secrets,
            prefer_repository,
            skip_marks,
        } = settings;
        Self {
            container_port,
            health_path,
            health_timeout,
            health_interval,
            tcp,
            memory_mib,
            cpu_percent,
            domains,
            volumes,
            strategy,
            stop_timeout,
            stop_signal,
            keep,
            root,
            containerfile,
            watch,
            build_args,
            build_env,
            build_secrets,
            prefer_repository,
            skip_marks: skip_marks.unwrap_or_else(yes),
        }
    }
}

/// What is wrong with one of these is told in its type's own words.
const IN_OWN_WORDS: [&str; 8] =
    ["domains", "volumes", "root", "containerfile", "watch", "build_args", "build_env", "build_secrets"];

/// What a setting takes, after its name.
fn takes(field: &str) -> String {
    let from_to = |bounds: RangeInclusive<u64>| format!("must be from {} to {}", bounds.start(), bounds.end());
    let one_of = |words: &[&str]| format!("must be one of {}", words.join(", "));
    match field {
        "container_port" => format!("{}, or the word `none`", from_to(PORTS)),
        "health_path" => "must be a path that begins with /".into(),
        "health_timeout" => format!("{} seconds", from_to(HEALTH_TIMEOUT)),
        "health_interval" => format!("{} seconds", from_to(HEALTH_INTERVAL)),
        "tcp" | "prefer_repository" | "skip_marks" => "must be true or false".into(),
        "memory_mib" => format!("must be at least {}", MEMORY.start()),
        "cpu_percent" => from_to(CPU),
        "domains" => format!("takes host names, at most {DOMAINS}"),
        "strategy" => one_of(&Strategy::ALL.map(Strategy::as_str)),
        "stop_timeout" => format!("{} seconds", from_to(STOP_TIMEOUT)),
        "stop_signal" => one_of(&StopSignal::ALL.map(StopSignal::as_str)),
        "keep" => from_to(KEEP),
        _ => "can't be that".into(),
    }
}

/// Merges a patch into an object (RFC 7396, section 2).
fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(patch) => {
                let mut member = match target.remove(&key) {
                    Some(Value::Object(member)) => member,
                    _ => Map::new(),
                };
                merge(&mut member, patch);
                target.insert(key, Value::Object(member));
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

impl Settings {
    /// The settings in an object's fields; the error names the one that is wrong.
    pub fn read(fields: Map<String, Value>) -> Result<Self, (Code, String)> {
        decode::read(Value::Object(fields)).map_err(|error| {
            let why = error.why().clone();
            let (setting, rest) = error.split();
            match (setting.as_deref(), why) {
                (None, _) => (Code::BadRequest, rest.to_string()),
                (Some(setting), why) if IN_OWN_WORDS.contains(&setting) => match why {
                    // Which of them it is.
                    Why::Own(why) => (Code::InvalidSetting, format!("`{setting}`: {why}")),
                    _ => (Code::InvalidSetting, format!("`{setting}`: {rest}")),
                },
                (Some(setting), _) => (Code::InvalidSetting, format!("`{setting}` {}", takes(setting))),
            }
        })
    }

    /// These settings with a merge patch (RFC 7396): null takes a field back to its default or a map's member away, and what
    /// isn't named stays. The error names the one that is wrong.
    pub fn patched(&self, patch: Map<String, Value>) -> Result<Self, (Code, String)> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(self) else {
            return Err((Code::Internal, "the settings can't be read".into()));
        };
        // Merged, nothing would be left of it that could be refused.
        let nothing = patch.iter().find(|(key, value)| value.is_null() && !fields.contains_key(*key));
        if let Some((key, _)) = nothing {
            return Err((Code::BadRequest, format!("unknown field `{}`", key.escape_default())));
        }
        merge(&mut fields, patch);
        Self::read(fields)
    }

    /// The settings as the store keeps them; the error names the one that is wrong.
    pub fn check(self) -> Result<store::Settings, String> {
        let within =
            |value: Option<u64>, bounds: RangeInclusive<u64>| value.is_none_or(|value| bounds.contains(&value));
        let good = [
            ("stop_timeout", within(self.stop_timeout.map(u64::from), STOP_TIMEOUT)),
            ("health_timeout", within(self.health_timeout.map(u64::from), HEALTH_TIMEOUT)),
            ("health_interval", within(self.health_interval.map(u64::from), HEALTH_INTERVAL)),
            ("memory_mib", within(self.memory_mib, MEMORY)),
            ("cpu_percent", within(self.cpu_percent.map(u64::from), CPU)),
            ("domains", self.domains.len() <= DOMAINS),
            ("keep", within(self.keep.map(u64::from), KEEP)),
        ];
        if self.memory_mib.is_some_and(|mib| mib > *MEMORY.end()) {
            return Err(format!("`memory_mib` must be at most {}", MEMORY.end()));
        }
        if let Some((wrong, _)) = good.into_iter().find(|(_, is_good)| !is_good) {
            return Err(format!("`{wrong}` {}", takes(wrong)));
        }
        if self.container_port == Some(ContainerPort::None) && (self.health_path.is_some() || self.tcp) {
            let asked = if self.tcp { "tcp" } else { "health_path" };
            return Err(format!("`{asked}` can't be where `container_port` is `none`: nobody is there to be asked"));
        }
        let Self {
            container_port,
            health_path,
            health_timeout,
            health_interval,
            tcp,
            memory_mib,
            cpu_percent,
            domains,
            volumes,
            strategy,
            stop_timeout,
            stop_signal,
            keep,
            root,
            containerfile,
            watch,
            build_args,
            build_env,
            build_secrets,
            prefer_repository,
            skip_marks,
        } = self;
        Ok(store::Settings {
            container_port,
            health_path,
            health_timeout,
            health_interval,
            tcp,
            memory_mib,
            cpu_percent,
            domains,
            volumes,
            strategy,
            stop_timeout,
            stop_signal,
            keep,
            root,
            containerfile,
            watch,
            build_args,
            build_env,
            build_secrets,
            prefer_repository,
            skip_marks: (!skip_marks).then_some(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_setting_that_is_wrong_is_named() {
        let wrong = |fields: Value| {
            let Value::Object(fields) = fields else { panic!("{fields} is no object") };
            let checked = Settings::read(fields).map_err(|(code, detail)| (code.as_str(), detail));
            checked.and_then(|settings| settings.check().map_err(|detail| ("invalid-setting", detail))).map(|_| ())
        };
        for (fields, code, detail) in [
            (json!({"container_port": 70_000}), "invalid-setting", "`container_port` must be from 1 to 65535"),
            (json!({"container_port": 0}), "invalid-setting", "`container_port` must be from 1 to 65535"),
            (json!({"health_path": "x"}), "invalid-setting", "`health_path` must be a path"),
            (json!({"health_timeout": -1}), "invalid-setting", "`health_timeout` must be from 1 to 600"),
            (json!({"health_interval": 4}), "invalid-setting", "`health_interval` must be from 5 to 3600 seconds"),
            (json!({"tcp": "maybe"}), "invalid-setting", "`tcp` must be true or false"),
            (json!({"keep": 3, "memory_mib": "much"}), "invalid-setting", "`memory_mib` must be at least 16"),
            (json!({"memory_mib": 15}), "invalid-setting", "`memory_mib` must be at least 16"),
            (json!({"memory_mib": (1 << 24) + 1}), "invalid-setting", "`memory_mib` must be at most 16777216"),
            (json!({"cpu_percent": 10_001}), "invalid-setting", "`cpu_percent` must be"),
            (json!({"domains": ["a.example", "a b"]}), "invalid-setting", "`domains`: `a b` is not a host name"),
            (json!({"domains": vec!["a.example"; 51]}), "invalid-setting", "`domains` takes host names, at most 50"),
            (json!({"volumes": {"Data": "/data"}}), "invalid-setting", "`volumes`: `Data` is not a volume name"),
            (json!({"volumes": {"data": "/"}}), "invalid-setting", "`volumes`: `/` is not a path for a volume"),
            (
                json!({"volumes": {"data": "/proc/sys"}}),
                "invalid-setting",
                "`volumes`: `/proc/sys` is not a path for a volume",
            ),
            (json!({"volumes": {"volume": "/data"}}), "invalid-setting", "`volumes`: `volume` is not a volume name"),
            (
                json!({"volumes": {"a": "/data", "b": "/data/"}}),
                "invalid-setting",
                "`volumes`: two volumes, `a` and `b`,",
            ),
            (
                json!({"container_port": "nowhere"}),
                "invalid-setting",
                "`container_port` must be from 1 to 65535, or the",
            ),
            (json!({"container_port": "none", "tcp": true}), "invalid-setting", "`tcp` can't be where"),
            (json!({"container_port": "none", "health_path": "/"}), "invalid-setting", "`health_path` can't be"),
            (json!({"strategy": "blue"}), "invalid-setting", "`strategy` must be one of rolling, recreate"),
            (json!({"stop_timeout": 301}), "invalid-setting", "`stop_timeout` must be from 1 to 300 seconds"),
            (json!({"stop_signal": "SIGSTOP"}), "invalid-setting", "`stop_signal` must be one of SIGTERM, "),
            (json!({"skip_marks": "maybe"}), "invalid-setting", "`skip_marks` must be true or false"),
            (json!({"keep": 101}), "invalid-setting", "`keep` must be from 1 to 100"),
            (json!({"root": "../other"}), "invalid-setting", "`root`: `../other` is not a path inside the repository"),
            (json!({"containerfile": 5}), "invalid-setting", "`containerfile`: a text is wanted"),
            (json!({"watch": ["apps/["]}), "invalid-setting", "`watch`: `apps/[` is not a pattern of files"),
            (json!({"watch": vec!["a"; 51]}), "invalid-setting", "`watch`: there are more than 50 patterns"),
            (
                json!({"build_args": {"A": "x\ny"}}),
                "invalid-setting",
                "`build_args`: the text of a build's argument is",
            ),
            (
                json!({"build_env": ["A-B"]}),
                "invalid-setting",
                "`build_env`: `A-B` is not the name of a build's argument",
            ),
            (
                json!({"build_secrets": ["SOURCE_COMMIT"]}),
                "invalid-setting",
                "`build_secrets`: `SOURCE_COMMIT` is given",
            ),
            (json!({"prefer_repository": 1}), "invalid-setting", "`prefer_repository` must be true or false"),
            (json!({"kept": 1}), "bad-request", "unknown field `kept`"),
        ] {
            let told = wrong(fields.clone()).expect_err(&fields.to_string());
            assert!(told.0 == code && told.1.starts_with(detail), "{fields}: {told:?}");
        }
        let good = json!({"container_port": "none", "strategy": "recreate", "stop_signal": "SIGRTMIN+3"});
        assert_eq!(wrong(good), Ok(()));
        let good = json!({"memory_mib": 16, "domains": ["a.example"], "volumes": {"data": "/data"}, "keep": null});
        assert_eq!(wrong(good), Ok(()));
    }

    #[test]
    fn a_patch_is_merged_in_maps_too() {
        let settings: Settings =
            serde_json::from_value(json!({"keep": 3, "domains": ["a.example"], "volumes": {"x": "/x", "y": "/y"}}))
                .unwrap();
        for (patch, volumes, keep) in [
            (json!({}), json!({"x": "/x", "y": "/y"}), json!(3)),
            (json!({"volumes": {"y": null}}), json!({"x": "/x"}), json!(3)),
            (json!({"volumes": {"y": "/z", "gone": null}}), json!({"x": "/x", "y": "/z"}), json!(3)),
            (json!({"volumes": {"z": "/z"}, "keep": null}), json!({"x": "/x", "y": "/y", "z": "/z"}), json!(null)),
            (json!({"volumes": null, "keep": 5}), json!({}), json!(5)),
        ] {
            let Value::Object(fields) = patch.clone() else { panic!("{patch} is no object") };
            let patched = json!(settings.patched(fields).unwrap());
            assert_eq!((&patched["volumes"], &patched["keep"]), (&volumes, &keep), "{patch}");
            assert_eq!(patched["domains"], json!(["a.example"]));
        }
        for (patch, told) in [
            (json!({"kept": null}), "unknown field `kept`"),
            (json!({"volumes": "/x"}), "`volumes`"),
            (json!({"volumes": {"z": 1}}), "`volumes`"),
            (json!({"keep": {}}), "`keep` must be"),
        ] {
            let Value::Object(fields) = patch.clone() else { panic!("{patch} is no object") };
            let error = settings.patched(fields).unwrap_err().1;
            assert!(error.starts_with(told), "{patch}: {error}");
        }
    }

    #[test]
    fn settings_that_cannot_be() {
        let read = |text: &str| serde_json::from_str::<Settings>(text).map_err(|error| error.to_string());
        let with = |text: &str| read(text).and_then(Settings::check);
        assert!(with(r#"{"volumes":{"data":"/data"},"health_path":"/up"}"#).is_ok());
        for text in [r#"{"health_path":"up"}"#, r#"{"container_port":0}"#, r#"{"keep":0}"#] {
            assert!(with(text).is_err(), "{text}");
        }
    }
}
