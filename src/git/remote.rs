//! A repository elsewhere as git is told of it: an address that was looked at before, and who reads it.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::address::is_public;
use super::command::{failed, settings};
use super::{GitError, Repositories, faults};
use crate::config::system;
use crate::names::{RepoUri, ServiceName, Transport};

/// How long the look-up of a name may take.
const LOOK_UP: Duration = Duration::from_secs(20);

/// A repository elsewhere.
#[derive(Debug)]
pub(super) struct Remote {
    target: String,
    environment: Vec<(&'static str, OsString)>,
    config: Vec<(&'static str, String)>,
    /// What is secret, until it is dropped.
    _file: Option<tempfile::NamedTempFile>,
}

impl Remote {
    /// What git is given as the repository, behind a `--`.
    pub(super) fn target(&self) -> &str {
        &self.target
    }
}

impl Repositories {
    /// The address of a host that may be connected to. It is looked up once, so that a second look-up can't lead elsewhere.
    pub(super) async fn address(&self, host: &str, port: u16) -> Result<IpAddr, GitError> {
        let unknown = || GitError::UnknownHost(host.to_owned());
        let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, port)))
            .await
            .map_err(|_| unknown())?
            .map_err(|_| unknown())?;
        let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        if !self.config.get().git.allow_private
            && let Some(address) = addresses.iter().copied().find(|address| !is_public(*address))
        {
            return Err(GitError::PrivateAddress { host: host.to_owned(), address });
        }
        addresses.first().copied().ok_or_else(unknown)
    }

    /// The repository at `uri`, of which `secret` is what is secret; over ssh it is read by the key of `service`.
    pub(super) async fn remote(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        secret: Option<&SecretString>,
    ) -> Result<Remote, GitError> {
        let address = self.address(&uri.host(), uri.port()).await?;
        let paths = &self.config.get().paths;
        let mut target = uri.address().to_owned();
        let mut environment: Vec<(&'static str, OsString)> = vec![("GIT_PROTOCOL_FROM_USER", "0".into())];
        let mut config: Vec<(&'static str, String)> = faults::of_fetches().collect();
        config.extend([
            ("core.hooksPath", "/dev/null".to_owned()),
            // None but ours.
            ("credential.helper", String::new()),
            ("gc.auto", "0".to_owned()),
            // One file, however many objects come: the limit is that of a file.
            ("fetch.unpackLimit", "1".to_owned()),
        ]);
        match uri.transport() {
            Transport::Http => {
                environment.push(("GIT_ALLOW_PROTOCOL", "https:http".into()));
                // A redirect could lead to an address that nobody looked at.
                config.push(("http.followRedirects", "false".to_owned()));
                let bracketed = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
                config.push(("http.curloptResolve", format!("{}:{}:{bracketed}", uri.host(), uri.port())));
            }
            Transport::Ssh => {
                self.deploy_key(service).await?;
                environment.extend([
                    ("GIT_ALLOW_PROTOCOL", "ssh".into()),
                    ("GIT_SSH_VARIANT", "ssh".into()),
                    ("GIT_SSH", paths.helpers.join("ssh").into()),
                    ("PODKEEPER_SSH_KEY", self.private_key(service).into()),
                    ("PODKEEPER_SSH_HOSTS", self.known_hosts(service).into()),
                    ("PODKEEPER_SSH_ADDRESS", address.to_string().into()),
                    ("PODKEEPER_SSH_HOST", uri.host().into()),
                ]);
            }
            Transport::Git => {
                environment.push(("GIT_ALLOW_PROTOCOL", "git".into()));
                target = uri.at(address).ok_or_else(|| GitError::UnknownHost(uri.host()))?;
            }
        }
        // Nobody is asked, but where there is an answer.
        environment.push(("GIT_ASKPASS", system::FALSE.into()));
        let file = match secret {
            Some(secret) if uri.transport() == Transport::Http => {
                let told = uri.credential(secret).ok_or(GitError::Credential)?;
                let file = write_secret(&told).await?;
                // By a question on the command line git would tell the user name, which may be a token.
                config.push(("credential.helper", paths.helpers.join("credential").display().to_string()));
                environment.push(("PODKEEPER_CREDENTIAL_FILE", file.path().into()));
                Some(file)
            }
            Some(password) => {
                let file = write_secret(password).await?;
                // ssh asks on its own, and without a terminal only where it must.
                environment.extend([
                    ("SSH_ASKPASS", paths.helpers.join("askpass").into()),
                    ("SSH_ASKPASS_REQUIRE", "force".into()),
                    ("PODKEEPER_PASSWORD_FILE", file.path().into()),
                    ("PODKEEPER_SSH_BATCH", "no".into()),
                ]);
                Some(file)
            }
            None => None,
        };
        Ok(Remote { target, environment, config, _file: file })
    }

    /// Git in the repository `folder`, as it asks `remote`; it writes no file that is larger than `file_mib`.
    pub(super) fn git_with(&self, remote: &Remote, folder: &Path, file_mib: Option<u64>) -> Command {
        let mut command = self.git_within(file_mib);
        command.env("GIT_DIR", folder).envs(remote.environment.iter().map(|(key, value)| (key, value)));
        settings(&mut command, &remote.config);
        command
    }
}

/// A file of ours that only we can read, gone as soon as it is dropped. An environment or an argument would show the
/// secret to whoever lists processes.
async fn write_secret(secret: &SecretString) -> Result<tempfile::NamedTempFile, GitError> {
    // The agent's own /tmp lies in memory, and is gone with an agent that is killed.
    let folder = std::env::temp_dir();
    let file = tempfile::Builder::new().prefix(".password-").tempfile_in(&folder).map_err(failed("write", &folder))?;
    let mut open = tokio::fs::File::from_std(file.reopen().map_err(failed("write", &folder))?);
    open.write_all(secret.expose_secret().as_bytes()).await.map_err(failed("write", &folder))?;
    open.flush().await.map_err(failed("write", &folder))?;
    Ok(file)
}
