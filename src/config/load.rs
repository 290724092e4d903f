//! The configuration's file.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Config;

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
    /// The file isn't the TOML that we know; the text names the line and the key.
    #[error("`{path}` is not a configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        source: Box<toml::de::Error>,
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
        let config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        config.check().map_err(|(key, why)| ConfigError::Value { path: path.to_owned(), key, why })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Host;
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
        assert_eq!(shown(&Config { host: host.clone(), ..config }), shown(&Config { host, ..Config::default() }));
        let keys = uncommented().lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
        let fields = format!("{:#?}", Config::default()).matches("\n        ").count();
        assert!(keys >= 25, "the shipped file names {keys} keys; the configuration has about {fields}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = parse("[builds]\nparallel = 1\nparalel = 2\n").expect_err("a typo");
        let said = std::error::Error::source(&error).expect("what the parser says").to_string();
        assert!(said.contains("line 3") && said.contains("paralel"), "{said}");
        assert!(!error.to_string().contains("paralel"), "whoever shows what led to it tells it once: {error}");
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
            let error = parse(text).expect_err(text);
            let said = std::error::Error::source(&error).expect("what the parser says").to_string();
            assert!(said.contains("line 2") && said.contains(&format!("{key} = ")), "{said}");
        }
    }
}
