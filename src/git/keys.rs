//! The key by which a service reads its repository over ssh, and the keys by which it knows the forge.

use std::path::PathBuf;

use super::command::{failed, run};
use super::repositories::LOCAL;
use super::{GitError, Repositories};
use crate::config::system;
use crate::names::ServiceName;

impl Repositories {
    pub(super) fn private_key(&self, service: &ServiceName) -> PathBuf {
        self.config.get().paths.keys().join(service.as_str())
    }

    pub(super) fn known_hosts(&self, service: &ServiceName) -> PathBuf {
        self.config.get().paths.keys().join(format!("{service}.hosts"))
    }

    pub(super) fn key_files(&self, service: &ServiceName) -> [PathBuf; 3] {
        let key = self.private_key(service);
        let public = key.with_extension("pub");
        [key, public, self.known_hosts(service)]
    }

    /// The public half of the service's deploy key, made at the first call, as a line for the forge's settings.
    pub async fn deploy_key(&self, service: &ServiceName) -> Result<String, GitError> {
        let [key, public, _] = self.key_files(service);
        if !tokio::fs::try_exists(&public).await.unwrap_or(false) {
            let folder = self.config.get().paths.keys();
            tokio::fs::create_dir_all(&folder).await.map_err(failed("make", &folder))?;
            // A private half without a public one is what a cut-off call left.
            let _ = tokio::fs::remove_file(&key).await;
            let mut keygen = tokio::process::Command::new(system::SSH_KEYGEN);
            keygen.env_clear().stdin(std::process::Stdio::null()).kill_on_drop(true).process_group(0);
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C"]).arg(format!("podkeeper-{service}"));
            keygen.arg("-f").arg(&key);
            run(keygen, "make a deploy key", LOCAL).await?;
        }
        let line = tokio::fs::read_to_string(&public).await.map_err(failed("read", &public))?;
        Ok(line.trim().to_owned())
    }
}
