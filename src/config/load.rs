//! The configuration's file.

use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use super::Config;
use crate::decode::{self, DecodeError, Step, Why};

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file isn't the TOML that we know.
    #[error("`{path}`, line {line}: {why}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// A value that can't be.
    #[error("`{path}`: `{key}` {why}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, as `section.key`.
        key: &'static str,
        /// What is wrong with its value.
        why: &'static str,
    },
}

impl Config {
    /// Reads the file at `path`. A file that isn't there is an empty one only where `optional` says so.
    pub fn load(path: &Path, optional: bool) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(source) if optional && source.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads a configuration's text; `path` is only for the messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let fault = |at: usize, why: String| {
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            ConfigError::Parse { path: path.to_owned(), line, why }
        };
        let table =
            DeTable::parse(text).map_err(|error| fault(error.span().map_or(0, |span| span.start), NO_TOML.into()))?;
        let table = DeValue::Table(table.into_inner());
        let unreadable = |_| fault(0, NO_TOML.into());
        let values = serde_json::to_value(toml::from_str::<toml::Table>(text).map_err(|_| fault(0, NO_TOML.into()))?);
        let config: Self = decode::read(values.map_err(unreadable)?)
            .map_err(|error| fault(place(&table, &error), error.to_string()))?;
        config.check().map_err(|(key, why)| ConfigError::Value { path: path.to_owned(), key, why })?;
        Ok(config)
    }
}

/// The parser has no kinds of faults, and its words are for who writes parsers.
const NO_TOML: &str = "this is no TOML\n\
                       Next: write `[section]`, or `key = value` once for each key, with texts in quotes: \"15m\"";

/// Where in the text that is which an error tells of.
fn place(table: &DeValue<'_>, error: &DecodeError) -> usize {
    let unknown = match error.why() {
        Why::Unknown(name, _) => Some(Step::Field(name.clone())),
        _ => None,
    };
    let (mut here, mut at) = (table, 0);
    for step in error.path().iter().chain(&unknown) {
        let found = match (step, here) {
            (Step::Field(name), DeValue::Table(fields)) => fields
                .iter()
                .find(|(key, _)| key.get_ref().as_ref() == name.as_str())
                .map(|(key, value)| (key.span().start, value.get_ref())),
            (Step::Item(index), DeValue::Array(items)) => {
                items.get(*index).map(|item| (item.span().start, item.get_ref()))
            }
            _ => None,
        };
        let Some(found) = found else { break };
        (at, here) = found;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::{Host, Paths};
    use super::*;

    const SHIPPED: &str = include_str!("../../config/podkeeper.toml");

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("podkeeper.toml"))
    }

    /// The shipped file with its keys' comment signs taken away: `#key = value` is a key, `# text` is prose.
    fn uncommented() -> String {
        let key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.contains('=');
        SHIPPED
            .lines()
            .map(|line| if key(line) { &line[1..] } else { line })
            .fold(String::new(), |all, line| all + line + "\n")
    }

    #[test]
    fn the_shipped_file_sets_nothing() {
        let config = parse(SHIPPED).expect("the shipped file is good");
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn the_shipped_file_names_every_key_with_its_default() {
        let config = parse(&uncommented()).expect("every commented key is a real one");
        let shown = |config: &Config| format!("{config:#?}");
        let host = Host { podman_socket: None, bus_socket: None };
        let paths = Paths { journal: None, ..config.paths.clone() };
        assert_eq!(
            shown(&Config { host: host.clone(), paths, ..config }),
            shown(&Config { host, ..Config::default() })
        );
        let keys = uncommented().lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
        let fields = format!("{:#?}", Config::default()).matches("\n        ").count();
        assert!(keys >= 25, "the shipped file names {keys} keys; the configuration has about {fields}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_in_plain_words() {
        for (text, told) in [
            (
                "[builds]\nparallel = 1\nparalel = 2\n",
                "`podkeeper.toml`, line 3: unknown field `builds.paralel`; there are `parallel`, ",
            ),
            ("\n[buidls]\n", "`podkeeper.toml`, line 2: unknown field `buidls`; there are `listen`, "),
            ("[builds]\n\nparallel = \"two\"\n", "`podkeeper.toml`, line 3: `builds.parallel` takes a whole number"),
            ("builds = 5\n", "`podkeeper.toml`, line 1: `builds` takes an object with the fields "),
            (
                "[listen]\norigins = [\n  \"http://a\",\n  5,\n]",
                "`podkeeper.toml`, line 4: `listen.origins[1]` takes a text",
            ),
            ("[builds]\nparallel = \n", "`podkeeper.toml`, line 2: this is no TOML\nNext: "),
            ("[builds]\nparallel = 1\nparallel = 1\n", "`podkeeper.toml`, line 3: this is no TOML\nNext: "),
            (
                "[builds]\ntimeout = 5\n",
                "`podkeeper.toml`, line 2: `builds.timeout`: a length of time is a number with",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.to_string().starts_with(told), "{text:?}: {error}");
            assert!(std::error::Error::source(&error).is_none());
        }
    }

    #[test]
    fn a_bad_value_is_told_with_its_key() {
        for (text, key) in [
            ("[paths]\nstate = \"var/lib\"", "state"),
            ("[paths]\npodman = \"/opt/my podman\"", "podman"),
            ("[host]\nbus_socket = \"/run/bus,guid=1\"", "bus_socket"),
            ("[listen]\nlocal = \"/run/$X\"", "local"),
            ("[listen]\npublic_url = \"http://a/\"", "public_url"),
            ("[listen]\norigins = [\"http://a\", \"http://u@b\"]", "origins"),
            ("[listen]\nservice_url = \"http://{name}_x.org\"", "service_url"),
            ("[shell]\nimage = \"--all\"", "image"),
            ("[shell]\nallow = [\"10.0.0.0/+8\"]", "allow"),
        ] {
            let said = parse(text).expect_err(text).to_string();
            assert!(said.contains("line 2: `") && said.contains(&format!(".{key}")), "{said}");
        }
    }
}
