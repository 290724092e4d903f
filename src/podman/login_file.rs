//! The logins at registries: in Podman's own file, where each build and each `podman` of the service user finds them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::PodmanError;
use crate::names::RegistryHost;

/// Who is logged in where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The registry.
    pub registry: RegistryHost,
    /// The user there.
    pub username: String,
}

/// The file: `{"auths": {REGISTRY: {"auth": BASE64 OF USER:PASSWORD}}}`, containers-auth.json(5). What else stands in it
/// was written by others and is kept.
#[derive(Debug)]
pub(super) struct LoginFile {
    file: PathBuf,
    /// Held while it is read and written anew.
    changing: Mutex<()>,
}

pub(super) fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> PodmanError {
    move |source| PodmanError::Logins { what, source }
}

impl LoginFile {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, changing: Mutex::new(()) }
    }

    fn read(&self) -> Result<Map<String, Value>, PodmanError> {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(failed("read")(error)),
        };
        // The parser's own words may repeat a part of the file.
        serde_json::from_slice(&text).map_err(|_| failed("read")(std::io::Error::other("auth.json is no JSON object")))
    }

    pub(super) fn list(&self) -> Result<Vec<Login>, PodmanError> {
        let all = self.read()?;
        let auths = all.get("auths").and_then(Value::as_object).into_iter().flatten();
        let logins = auths.filter_map(|(registry, login)| {
            let decoded = BASE64_STANDARD.decode(login.get("auth")?.as_str()?).ok()?;
            let (username, _) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
            Some(Login { registry: registry.parse().ok()?, username: username.to_owned() })
        });
        Ok(logins.collect())
    }

    /// Puts `login` in the place of the registry's, or nothing; true where there was one.
    pub(super) fn set(&self, registry: &RegistryHost, login: Option<Value>) -> Result<bool, PodmanError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read()?;
        let auths = all.entry("auths").or_insert_with(|| json!({}));
        let Value::Object(auths) = auths else {
            return Err(failed("read")(std::io::Error::other("`auths` is no JSON object")));
        };
        let before = match login {
            Some(login) => auths.insert(registry.to_string(), login),
            None => auths.remove(registry.as_str()),
        };
        self.write(&Value::Object(all)).map_err(failed("write"))?;
        Ok(before.is_some())
    }

    /// Whole or not at all, and for the service user alone.
    fn write(&self, all: &Value) -> std::io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(format!("{all:#}\n").as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.file)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_others_wrote_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("containers/auth.json");
        let logins = LoginFile::new(file.clone());
        assert_eq!(logins.list().unwrap(), []);
        let registry: RegistryHost = "registry.example.org:5000".parse().unwrap();
        assert!(!logins.set(&registry, Some(json!({ "auth": BASE64_STANDARD.encode("ann:a:b") }))).unwrap());
        assert_eq!(logins.list().unwrap(), [Login { registry: registry.clone(), username: "ann".into() }]);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let theirs = json!({ "auths": { "example.org/team": { "auth": "eDp5" } }, "credHelpers": { "a": "b" } });
        std::fs::write(&file, theirs.to_string()).unwrap();
        assert_eq!(logins.list().unwrap(), []);
        assert!(!logins.set(&registry, Some(json!({ "auth": "eDp5" }))).unwrap());
        assert!(logins.set(&registry, None).unwrap());
        assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap(), theirs);
        std::fs::write(&file, "secret").unwrap();
        let error = logins.set(&registry, None).unwrap_err();
        assert!(!crate::problem::chain(&error).contains("secret"));
        assert_eq!(std::fs::read(&file).unwrap(), b"secret", "what can't be read is not written over");
    }
}
