//! The configuration's file.

use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::Config;
use crate::decode::{self, NO_TOML, NO_TOML_HINT, Toml};

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
        let fault = |line: usize, why: String| ConfigError::Parse { path: path.to_owned(), line, why };
        let toml = Toml::read(text).map_err(|line| fault(line, format!("{NO_TOML}\nNext: {NO_TOML_HINT}")))?;
        let config: Self = decode::read(Value::Object(toml.values().clone()))
            .map_err(|error| fault(toml.line_of(&error), error.to_string()))?;
        config.check().map_err(|(key, why)| ConfigError::Value { path: path.to_owned(), key, why })?;
        Ok(config)
    }
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
