//! What a build is given beside its files: arguments and secrets. Their values lie in files of the build's own folder, and in
//! no argument, environment or plan.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{BuildError, Instructions};
use crate::names::{BranchName, BuildName, CommitId};
use crate::sandbox;
use crate::store::Settings;

/// The values of a service's variables, by their names.
pub type Values = BTreeMap<BuildName, SecretString>;

/// What a build is given. `Debug` shows no value.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Lines of `NAME=text`.
    args: Vec<(String, SecretString)>,
    secrets: Vec<(BuildName, SecretString)>,
}

impl Inputs {
    /// What the build of this commit is given by these settings. `values` has each variable that they name.
    pub fn of(
        settings: &Settings,
        mut values: Values,
        instructions: &Instructions,
        commit: &CommitId,
        branch: &BranchName,
    ) -> Result<Self, BuildError> {
        let own = [(BuildName::COMMIT, commit.as_str()), (BuildName::BRANCH, branch.as_str())];
        let own = own.into_iter().filter(|(name, _)| instructions.mention(name));
        let plain = settings.build_args.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut args: Vec<(String, SecretString)> =
            own.chain(plain).map(|(name, text)| (name.to_owned(), text.into())).collect();
        for name in settings.build_env.iter() {
            let Some(value) = values.get(name) else { continue };
            if value.expose_secret().contains(['\n', '\r', '\0']) {
                return Err(BuildError::LongArgument(name.clone()));
            }
            args.push((name.to_string(), value.clone()));
        }
        let secrets =
            settings.build_secrets.iter().filter_map(|name| Some((name.clone(), values.remove(name)?))).collect();
        Ok(Self { args, secrets })
    }

    /// Writes them into a new folder that only the agent's user reads, and tells what of it the build is to take.
    pub(super) fn write(&self, folder: &Path) -> std::io::Result<sandbox::Inputs> {
        let make = |folder: &Path| DirBuilder::new().mode(0o700).create(folder);
        make(folder)?;
        let put = |name: &Path, text: &[u8]| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
            file.write_all(text)
        };
        let mut lines = String::new();
        for (name, text) in &self.args {
            lines.push_str(&format!("{name}={}\n", text.expose_secret()));
        }
        if !lines.is_empty() {
            put(Path::new(sandbox::Inputs::ARGS), lines.as_bytes())?;
        }
        make(&folder.join(sandbox::Inputs::SECRETS))?;
        for (name, value) in &self.secrets {
            put(&Path::new(sandbox::Inputs::SECRETS).join(name.as_str()), value.expose_secret().as_bytes())?;
        }
        let secrets = self.secrets.iter().map(|(name, _)| name.clone()).collect();
        Ok(sandbox::Inputs { has_args: !lines.is_empty(), secrets })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::super::choose::choose;
    use super::*;

    fn of(containerfile: &str, settings: serde_json::Value, values: &[(&str, &str)]) -> Result<Inputs, BuildError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Containerfile"), containerfile).unwrap();
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let instructions = choose(folder.path(), &settings).unwrap();
        let values = values.iter().map(|(name, value)| (name.parse().unwrap(), SecretString::from(*value))).collect();
        let commit = "0123456789012345678901234567890123456789".parse().unwrap();
        Inputs::of(&settings, values, &instructions, &commit, &"main".parse().unwrap())
    }

    #[test]
    fn what_is_given_lies_in_files_that_nobody_else_reads() {
        let settings = json!({
            "build_args": {"MODE": "a b=c"}, "build_env": ["URL"], "build_secrets": ["TOKEN", "URL"],
        });
        let values = [("URL", "https://x.example"), ("TOKEN", "two\nlines")];
        let inputs = of("FROM a\nARG SOURCE_COMMIT\n", settings, &values).unwrap();
        assert!(!format!("{inputs:?}").contains("x.example"));
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("5.inputs");
        let written = inputs.write(&into).unwrap();
        assert_eq!(written.secrets, ["TOKEN".parse().unwrap(), "URL".parse().unwrap()]);
        let read = |name: &str| std::fs::read_to_string(into.join(name)).unwrap();
        let commit = "SOURCE_COMMIT=0123456789012345678901234567890123456789";
        assert!(written.has_args);
        assert_eq!(read("args"), format!("{commit}\nMODE=a b=c\nURL=https://x.example\n"));
        assert_eq!((read("secrets/TOKEN"), read("secrets/URL")), ("two\nlines".into(), "https://x.example".into()));
        for (name, mode) in [(".", 0o700), ("args", 0o600), ("secrets", 0o700), ("secrets/TOKEN", 0o600)] {
            assert_eq!(into.join(name).metadata().unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
        // What a build before has left is none of this one's.
        assert!(inputs.write(&into).is_err());
    }

    #[test]
    fn what_nobody_asks_for_is_not_there_and_no_argument_has_two_lines() {
        let folder = tempfile::tempdir().unwrap();
        let written = of("FROM a\n", json!({}), &[]).unwrap().write(&folder.path().join("x")).unwrap();
        assert!(!written.has_args && written.secrets.is_empty());
        let wrong = of("FROM a\n", json!({"build_env": ["KEY"]}), &[("KEY", "a\nEVIL=b")]);
        assert!(matches!(wrong, Err(BuildError::LongArgument(name)) if name.as_str() == "KEY"));
    }
}
