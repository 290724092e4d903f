//! `podkeeper.toml`, in which a repository brings settings of its own: the same names and values as the service's, but for
//! what is its owner's to say.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::settings::Settings;
use crate::builds::FileFault;
use crate::decode::{NO_TOML, Toml};
use crate::store;

/// What no repository has a say in.
const OWNERS: [&str; 4] = ["domains", "keep", "prefer_repository", "skip_marks"];

/// What a repository's `podkeeper.toml` says, by the settings' names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepositorySettings(pub Map<String, Value>);

impl From<store::Settings> for RepositorySettings {
    fn from(file: store::Settings) -> Self {
        let said = file.said();
        let mut fields = fields(&file.into());
        fields.retain(|name, _| said.contains(name));
        Self(fields)
    }
}

impl JsonSchema for RepositorySettings {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RepositorySettings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let settings = SchemaSettings::draft2020_12().for_deserialize();
        let settings = settings.with(|settings| settings.inline_subschemas = true);
        of_file(Settings::json_schema(&mut settings.into_generator()).to_value())
    }
}

/// The description of the file, by which editors complete it (JSON Schema, draft 7).
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().for_deserialize().with(|settings| settings.inline_subschemas = true);
    let mut schema = of_file(Settings::json_schema(&mut settings.into_generator()).to_value()).to_value();
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "podkeeper.toml".into();
    schema
}

/// What is left of the settings' description: TOML has no null, and nothing must be said.
fn of_file(mut schema: Value) -> Schema {
    for name in OWNERS {
        schema["properties"].as_object_mut().and_then(|fields| fields.remove(name));
    }
    for (_, field) in schema["properties"].as_object_mut().into_iter().flatten() {
        if let Some(field) = field.as_object_mut() {
            field.remove("default");
            if let Some(Value::Array(kinds)) = field.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [kind] = kinds.as_slice() {
                    let kind = kind.clone();
                    field.insert("type".into(), kind);
                }
            }
            if let Some(Value::Array(words)) = field.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if let Some(Value::Array(kinds)) = field.get_mut("anyOf") {
                kinds.retain(|kind| *kind != json!({ "type": "null" }));
                if let [Value::Object(kind)] = kinds.as_slice() {
                    let kind = kind.clone();
                    field.remove("anyOf");
                    field.extend(kind);
                }
            }
        }
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("required");
        fields.remove("default");
        fields.insert("description".into(), "What a repository says of the settings of its service.".into());
    }
    Schema::try_from(schema).unwrap_or_default()
}

fn fields(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// The settings in such a file's text; what is wrong is told with its line and key.
pub fn read(text: &str) -> Result<store::Settings, FileFault> {
    let toml = Toml::read(text).map_err(|line| FileFault { line: Some(line), why: NO_TOML.to_owned() })?;
    let known = fields(&Settings::default());
    for (key, value) in toml.values() {
        let fault = |why: String| FileFault { line: Some(toml.line_of_key(key)), why };
        if OWNERS.contains(&key.as_str()) {
            return Err(fault(format!("`{key}` is not for a repository to say: set it as the service's own setting")));
        }
        if !known.contains_key(key) {
            let known: Vec<_> = known.keys().filter(|name| !OWNERS.contains(&name.as_str())).collect();
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            let key: String = key.chars().take(60).flat_map(char::escape_default).collect();
            return Err(fault(format!("unknown key `{key}`; there are {}", known.join(", "))));
        }
        // A number that is none, which JSON does not have.
        if value.is_null() {
            return Err(fault(format!("`{key}` can't be that")));
        }
        checked([(key.clone(), value.clone())].into_iter().collect()).map_err(fault)?;
    }
    checked(toml.values().clone()).map_err(|why| FileFault { line: None, why })
}

fn checked(fields: Map<String, Value>) -> Result<store::Settings, String> {
    Settings::read(fields).map_err(|(_, why)| why)?.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ContainerPort;

    #[test]
    fn a_file_says_what_settings_say() {
        let file = read(
            "root = \"apps/web\"\nwatch = [\"apps/web/**\", \"lib\"]\ncontainer_port = 3000\nhealth_path = \"/up\"\n\
             build_secrets = [\"TOKEN\"]\n\n[build_args]\nMODE = \"production\"\n\n[volumes]\ndata = \"/data\"\n",
        )
        .unwrap();
        assert_eq!(
            (file.container_port.and_then(ContainerPort::number), file.root.as_ref().map(|root| root.as_str())),
            (Some(3000), Some("apps/web"))
        );
        let shown = json!(RepositorySettings::from(file));
        assert_eq!(
            shown,
            json!({
                "root": "apps/web", "watch": ["apps/web/**", "lib"], "container_port": 3000, "health_path": "/up",
                "build_secrets": ["TOKEN"], "build_args": {"MODE": "production"}, "volumes": {"data": "/data"},
            })
        );
        assert_eq!(json!(RepositorySettings::from(read("# nothing\n").unwrap())), json!({}));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_with_its_line_and_key() {
        for (text, line, told) in [
            ("tcp = true\nport = 80\n", 2, "unknown key `port`; there are `container_port`, "),
            ("tcp = true\n\ncontainer_port = 70000\n", 3, "`container_port` must be from 1 to 65535"),
            ("[volumes]\ndata = \"data\"\n", 1, "`volumes`: `data` is not a path for a volume"),
            ("watch = [\"../x\"]\n", 1, "`watch`: `../x` is not a pattern"),
            ("\nroot = \"/etc\"\n", 2, "`root`: `/etc` is not a path inside the repository"),
            ("domains = [\"a.example\"]\n", 1, "`domains` is not for a repository to say"),
            ("keep = 3\n", 1, "`keep` is not for"),
            ("prefer_repository = true\n", 1, "`prefer_repository` is not for"),
            ("tcp = true\nmemory_mib = nan\n", 2, "`memory_mib` can't be that"),
            ("health_timeout = 1979-05-27\n", 1, "`health_timeout` must be from 1 to 600"),
            ("tcp = true\ntcp = true\n", 2, "this is no TOML"),
            ("tcp = yes\n", 1, "this is no TOML"),
            ("[build_args]\nA = 5\n", 1, "`build_args`: `A` takes a text"),
        ] {
            let fault = read(text).expect_err(text);
            assert!(fault.line == Some(line) && fault.why.starts_with(told), "{text:?}: {fault:?}");
        }
    }

    #[test]
    fn the_schema_has_each_setting_but_the_owners() {
        let schema = schema();
        let described: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let mut known: Vec<_> = fields(&Settings::default()).keys().cloned().collect();
        known.retain(|name| !OWNERS.contains(&name.as_str()));
        known.sort();
        let mut sorted = described;
        sorted.sort();
        assert_eq!(sorted, known);
        assert_eq!(schema["properties"]["health_timeout"]["type"], "integer");
        assert_eq!(schema["properties"]["health_timeout"]["maximum"], 600);
        let port = schema["properties"]["container_port"].to_string();
        assert!(port.contains("65535") && port.contains("none"), "{port}");
        assert_eq!(schema["additionalProperties"], false);
        let text = schema.to_string();
        assert!(!text.contains("null") && !text.contains("\"required\""), "{text}");
    }
}
