//! Services.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::deployments::Deployment;
use super::fields::{SecretText, described_as};
use crate::names::{BranchName, CommitId, HealthPath, HostName, ReleaseNumber, ServiceName, Volumes};
use crate::problem::Code;
use crate::services::status::{Condition, Figures as HostFigures, Status as HostStatus};
use crate::services::{Availability, Removed as HostRemoved};
use crate::store;
use crate::templates;

/// Where a service's code comes from.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Source {
    /// A repository on this host.
    Template {
        /// The template that it was begun from.
        template: String,
    },
    /// A repository elsewhere.
    External {
        /// Its address; a password in it reads `***`, and so does a user name without one.
        uri: String,
    },
}

impl From<store::Source> for Source {
    fn from(source: store::Source) -> Self {
        match source {
            store::Source::Template(template) => Self::Template { template: template.to_string() },
            store::Source::External { uri, secret } => Self::External { uri: uri.shown(secret.is_some()) },
        }
    }
}

/// A service.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Where its code comes from.
    pub source: Source,
    /// The branch that is deployed.
    pub branch: BranchName,
    /// Where git pushes to; null where the code comes from elsewhere.
    pub push_url: Option<String>,
    /// The address that it serves at.
    pub url: String,
    /// The release with the traffic.
    pub release: Option<ReleaseNumber>,
    /// `created`, `starting`, `running`, `restarting`, `stopped` or `failed`.
    pub state: &'static str,
    /// When it was made.
    #[schemars(with = "super::fields::Moment")]
    pub created: Timestamp,
    /// Its last deployment.
    pub last_deployment: Option<Deployment>,
    /// How it is set.
    pub settings: Settings,
}

/// A service that was just made.
#[derive(Debug, JsonSchema, Serialize)]
pub struct CreatedService {
    /// The service.
    #[serde(flatten)]
    pub service: Service,
    /// Where a forge says that somebody pushed.
    pub hook_url: String,
    /// The key that authorises it.
    pub hook_key: String,
}

/// The list of services.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Services {
    /// By name.
    pub services: Vec<Service>,
    /// What to send as `cursor` for the page after this one; null at the end.
    pub cursor: Option<String>,
}

/// Which name is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskName {
    /// The name.
    pub name: String,
}

/// Whether a name can be had.
#[derive(Debug, JsonSchema, Serialize)]
pub struct NameAnswer {
    /// The name.
    pub name: String,
    /// Whether it can be had.
    pub available: bool,
    /// Why not: `taken`, `reserved` or `invalid`.
    pub reason: Option<&'static str>,
}

impl NameAnswer {
    /// The answer for `name`.
    #[must_use]
    pub fn new(name: String, availability: Availability) -> Self {
        let reason = match availability {
            Availability::Free => None,
            Availability::Taken | Availability::Left => Some("taken"),
            Availability::Reserved => Some("reserved"),
            Availability::Invalid => Some("invalid"),
        };
        Self { name, available: reason.is_none(), reason }
    }
}

/// What makes a service: exactly one of `template` and `external`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewService {
    /// The template to begin with.
    pub template: Option<String>,
    /// The address of a repository elsewhere.
    pub external: Option<SecretText>,
    /// The branch to deploy; `main` without it.
    pub branch: Option<String>,
}

/// How to remove a service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Its volumes too.
    #[serde(default, deserialize_with = "super::fields::flag")]
    pub volumes: bool,
}

/// What a removal took away, and what it left.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Removed {
    /// What is gone.
    pub removed: Vec<String>,
    /// What is kept.
    pub kept: Vec<String>,
}

impl From<HostRemoved> for Removed {
    fn from(removed: HostRemoved) -> Self {
        Self { removed: removed.removed, kept: removed.kept }
    }
}

/// How a service is.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Status {
    /// How it is.
    #[serde(flatten)]
    pub state: State,
    /// What it uses.
    #[serde(flatten)]
    pub figures: Figures,
}

/// How a service is, without what it uses.
#[derive(Debug, Serialize, PartialEq, JsonSchema)]
pub struct State {
    /// `created`, `starting`, `running`, `restarting`, `stopped` or `failed`.
    pub state: &'static str,
    /// systemd's own word for it.
    pub sub_state: Option<String>,
    /// Since when.
    #[schemars(with = "Option<super::fields::Moment>")]
    pub since: Option<Timestamp>,
    /// The release with the traffic.
    pub release: Option<ReleaseNumber>,
    /// Its commit.
    pub commit: Option<CommitId>,
    /// How often systemd started it again by itself.
    pub restarts: u32,
    /// `healthy` or `unhealthy`; null where it has no health check.
    pub health: Option<&'static str>,
}

/// What a service uses; null is what the host doesn't count.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Figures {
    /// CPU time since the last question, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Memory in use.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes that the container received over its own network interface. Requests through the proxy are not among them.
    pub received_bytes: Option<u64>,
    /// Bytes that it sent.
    pub sent_bytes: Option<u64>,
}

/// The interface's word for what a service does.
#[must_use]
pub fn state(condition: Condition) -> &'static str {
    match condition {
        Condition::Created => "created",
        Condition::Starting => "starting",
        Condition::Running => "running",
        Condition::Restarting => "restarting",
        Condition::Stopped => "stopped",
        Condition::Failed => "failed",
    }
}

impl From<(HostStatus, HostFigures)> for Status {
    fn from((status, figures): (HostStatus, HostFigures)) -> Self {
        Self { state: status.into(), figures: figures.into() }
    }
}

impl From<HostStatus> for State {
    fn from(status: HostStatus) -> Self {
        Self {
            state: state(status.condition),
            sub_state: status.sub_state.map(|state| state.to_string()),
            since: status.since,
            release: status.release,
            commit: status.commit,
            restarts: status.restarts,
            health: status.health.map(|healthy| if healthy { "healthy" } else { "unhealthy" }),
        }
    }
}

impl From<HostFigures> for Figures {
    fn from(figures: HostFigures) -> Self {
        Self {
            cpu_percent: figures.cpu_percent.map(|percent| (percent * 10.0).round() / 10.0),
            memory_bytes: figures.memory_bytes,
            pids: figures.pids,
            received_bytes: figures.traffic.map(|traffic| traffic.received),
            sent_bytes: figures.traffic.map(|traffic| traffic.sent),
        }
    }
}

/// How a service is set. Null, or a field that isn't there, means the host's default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Settings {
    /// The port that its program listens on in the container.
    pub container_port: Option<u16>,
    /// A path that must answer 2xx or 3xx before traffic moves.
    pub health_path: Option<HealthPath>,
    /// Seconds that a new release may take until it is healthy, 1 to 600.
    pub health_timeout: Option<u32>,
    /// It speaks no HTTP.
    pub tcp: bool,
    /// Memory limit in MiB, at least 16.
    pub memory_mib: Option<u64>,
    /// CPU limit in percent of one core, 1 to 10,000.
    pub cpu_percent: Option<u32>,
    /// Host names beside its own, at most 50.
    pub domains: Vec<HostName>,
    /// Named volumes and where they are mounted, at most 50.
    #[schemars(with = "BTreeMap<String, String>")]
    pub volumes: Volumes,
    /// How many releases are kept, 1 to 100.
    pub keep: Option<u32>,
}

impl From<store::Settings> for Settings {
    fn from(settings: store::Settings) -> Self {
        let store::Settings {
            container_port,
            health_path,
            health_timeout,
            tcp,
            memory_mib,
            cpu_percent,
            domains,
            volumes,
            keep,
        } = settings;
        Self { container_port, health_path, health_timeout, tcp, memory_mib, cpu_percent, domains, volumes, keep }
    }
}

/// What a setting takes, after its name.
fn takes(field: &str) -> &'static str {
    match field {
        "container_port" => "must be from 1 to 65535",
        "health_path" => "must be a path that begins with /",
        "health_timeout" => "must be from 1 to 600 seconds",
        "tcp" => "must be true or false",
        "memory_mib" => "must be at least 16",
        "cpu_percent" => "must be from 1 to 10000",
        "domains" => "takes host names, at most 50",
        "keep" => "must be from 1 to 100",
        _ => "can't be that",
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
        serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
            let path = error.path().iter().next().map(ToString::to_string).unwrap_or_default();
            let error = error.into_inner().to_string();
            match path.as_str() {
                _ if error.starts_with("unknown field") => (Code::BadRequest, error),
                // Which of them it is.
                "domains" | "volumes" => (Code::InvalidSetting, format!("`{path}`: {error}")),
                setting => (Code::InvalidSetting, format!("`{setting}` {}", takes(setting))),
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
        let within = |value: Option<u64>, least: u64, most: u64| value.is_none_or(|v| (least..=most).contains(&v));
        let good = [
            ("container_port", self.container_port != Some(0)),
            ("health_timeout", within(self.health_timeout.map(u64::from), 1, 600)),
            ("memory_mib", within(self.memory_mib, 16, 1 << 24)),
            ("cpu_percent", within(self.cpu_percent.map(u64::from), 1, 10_000)),
            ("domains", self.domains.len() <= 50),
            ("keep", within(self.keep.map(u64::from), 1, 100)),
        ];
        if let Some((wrong, _)) = good.into_iter().find(|(_, is_good)| !is_good) {
            return Err(format!("`{wrong}` {}", takes(wrong)));
        }
        let Self { container_port, health_path, health_timeout, tcp, memory_mib, cpu_percent, domains, volumes, keep } =
            self;
        Ok(store::Settings {
            container_port,
            health_path,
            health_timeout,
            tcp,
            memory_mib,
            cpu_percent,
            domains,
            volumes,
            keep,
        })
    }
}

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
#[derive(Debug, JsonSchema, Serialize)]
pub struct Env {
    /// The variables that were set.
    pub env: BTreeMap<String, String>,
    /// Those that the current release's image brings.
    pub image: BTreeMap<String, String>,
}

/// What an update of the environment did.
#[derive(Debug, JsonSchema, Serialize)]
pub struct EnvUpdated {
    /// The keys that are set now.
    pub keys: Vec<String>,
    /// Whether anything of it is another than before.
    pub changed: bool,
}

/// A template.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What it makes.
    pub description: String,
    /// The port that its program listens on in the container.
    pub port: u16,
}

impl From<templates::Template> for Template {
    fn from(template: templates::Template) -> Self {
        Self {
            name: template.name.to_string(),
            title: template.title,
            description: template.description,
            port: template.port,
        }
    }
}

/// The list of templates.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Templates {
    /// By name.
    pub templates: Vec<Template>,
}

/// The key that reads an external repository.
#[derive(Debug, JsonSchema, Serialize)]
pub struct DeployKey {
    /// The public key, a line of an `authorized_keys` file.
    pub public_key: String,
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
            (json!({"tcp": "maybe"}), "invalid-setting", "`tcp` must be true or false"),
            (json!({"keep": 3, "memory_mib": "much"}), "invalid-setting", "`memory_mib` must be at least 16"),
            (json!({"memory_mib": 15}), "invalid-setting", "`memory_mib` must be at least 16"),
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
            (json!({"keep": 101}), "invalid-setting", "`keep` must be from 1 to 100"),
            (json!({"kept": 1}), "bad-request", "unknown field `kept`"),
        ] {
            let told = wrong(fields.clone()).expect_err(&fields.to_string());
            assert!(told.0 == code && told.1.starts_with(detail), "{fields}: {told:?}");
        }
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
    fn an_update_of_the_environment_is_an_object_or_a_text_that_holds_one() {
        for body in [r#"{"env":{"A":"1","B":null}}"#, r#"{"env":"{\"A\":\"1\",\"B\":null}"}"#] {
            let update: UpdateEnv = serde_json::from_str(body).unwrap();
            assert_eq!(update.env.0.keys().collect::<Vec<_>>(), ["A", "B"]);
        }
        let error = serde_json::from_str::<UpdateEnv>(r#"{"env":{"A":["hunter2"]}}"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
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
