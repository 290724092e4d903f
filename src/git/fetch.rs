//! Fetching an external repository: one branch, its newest commit, from an address that was looked at before.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;

use super::address::is_public;
use super::command::{failed, run, settings};
use super::repositories::LOCAL;
use super::{Failure, GitError, Repositories};
use crate::config::system;
use crate::names::{BranchName, CommitId, RepoUri, ServiceName, Transport};

/// Where the newest fetched commit is kept.
const FETCHED: &str = "refs/podkeeper/fetched";

/// What is fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// What it is called there: a ref, or a commit's id.
    pub(super) from: &'a str,
    /// The ref that has it here.
    pub(super) to: &'a str,
    /// How many commits, with those before it.
    pub(super) depth: u32,
}

/// Removes what a fetch that was cut off left in a repository's folder of packs, and gives the size of the largest such
/// file, in bytes. There is one fetch of a repository at a time, and a push keeps elsewhere what isn't whole yet.
async fn clear_unfinished(packs: &Path) -> u64 {
    let mut largest = 0;
    let Ok(mut entries) = tokio::fs::read_dir(packs).await else { return largest };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if entry.file_name().as_encoded_bytes().starts_with(b"tmp_") {
            largest = largest.max(entry.metadata().await.map_or(0, |found| found.len()));
            let _ = tokio::fs::remove_file(entry.path()).await;
        }
    }
    largest
}

impl Repositories {
    /// The address that git will connect to. It is looked up once and given to git, so that a second look-up can't lead
    /// elsewhere.
    async fn address(&self, uri: &RepoUri) -> Result<IpAddr, GitError> {
        let host = uri.host();
        let unknown = |_| GitError::UnknownHost(host.clone());
        let found = tokio::time::timeout(Duration::from_secs(20), tokio::net::lookup_host((host.as_str(), uri.port())))
            .await
            .map_err(|_| GitError::UnknownHost(host.clone()))?
            .map_err(unknown)?;
        let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        if !self.config.get().git.allow_private
            && let Some(address) = addresses.iter().copied().find(|address| !is_public(*address))
        {
            return Err(GitError::PrivateAddress { host, address });
        }
        addresses.first().copied().ok_or(GitError::UnknownHost(host))
    }

    /// Fetches the newest commit of `branch`; `secret` is what is secret of the address.
    pub async fn fetch(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        branch: &BranchName,
        secret: Option<&SecretString>,
    ) -> Result<CommitId, GitError> {
        let newest = Wanted { from: &format!("refs/heads/{branch}"), to: FETCHED, depth: 1 };
        self.fetch_one(service, uri, branch, secret, newest).await
    }

    /// Fetches what is wanted, which is a commit of `branch`.
    pub(super) async fn fetch_one(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        branch: &BranchName,
        secret: Option<&SecretString>,
        Wanted { from, to, depth }: Wanted<'_>,
    ) -> Result<CommitId, GitError> {
        if !self.exists(service).await {
            self.create(service, None, branch).await?;
        }
        let address = self.address(uri).await?;
        let folder = self.folder(service);
        self.check_room(&folder, 0)?;
        let (most, left) = (self.config.get().git.max_push_mib, self.left(service).await?);
        let limit = most.min(left);
        let mut command = self.git_within(Some(limit));
        command.env("GIT_DIR", &folder).env("GIT_PROTOCOL_FROM_USER", "0");
        let mut target = uri.address().to_owned();
        let mut config = vec![
            ("transfer.fsckObjects", "true".to_owned()),
            ("core.hooksPath", "/dev/null".to_owned()),
            // None but ours.
            ("credential.helper", String::new()),
            ("gc.auto", "0".to_owned()),
            // One file, however many objects come: the limit is that of a file.
            ("fetch.unpackLimit", "1".to_owned()),
        ];
        match uri.transport() {
            Transport::Http => {
                command.env("GIT_ALLOW_PROTOCOL", "https:http");
                // A redirect could lead to an address that nobody looked at.
                config.push(("http.followRedirects", "false".to_owned()));
                let bracketed = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
                config.push(("http.curloptResolve", format!("{}:{}:{bracketed}", uri.host(), uri.port())));
            }
            Transport::Ssh => {
                command.env("GIT_ALLOW_PROTOCOL", "ssh").env("GIT_SSH_VARIANT", "ssh");
                command.env("GIT_SSH", self.config.get().paths.helpers.join("ssh"));
                let (key, _) = self.key_pair(service);
                command.env("PODKEEPER_SSH_KEY", key);
                command.env("PODKEEPER_SSH_HOSTS", self.config.get().paths.keys().join(format!("{service}.hosts")));
                command.env("PODKEEPER_SSH_ADDRESS", address.to_string());
                command.env("PODKEEPER_SSH_HOST", uri.host());
                self.deploy_key(service).await?;
            }
            Transport::Git => {
                command.env("GIT_ALLOW_PROTOCOL", "git");
                target = uri.at(address).ok_or(GitError::UnknownHost(uri.host()))?;
            }
        }
        // Nobody is asked, but where there is an answer.
        command.env("GIT_ASKPASS", system::FALSE);
        let helpers = &self.config.get().paths.helpers;
        let _file = match secret {
            Some(secret) if uri.transport() == Transport::Http => {
                let told = uri.credential(secret).ok_or(GitError::Credential)?;
                let file = self.write_secret(&told).await?;
                // By a question on the command line git would tell the user name, which may be a token.
                config.push(("credential.helper", helpers.join("credential").display().to_string()));
                command.env("PODKEEPER_CREDENTIAL_FILE", file.path());
                Some(file)
            }
            Some(password) => {
                let file = self.write_secret(password).await?;
                // ssh asks on its own, and without a terminal only where it must.
                command.env("SSH_ASKPASS", helpers.join("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
                command.env("PODKEEPER_PASSWORD_FILE", file.path()).env("PODKEEPER_SSH_BATCH", "no");
                Some(file)
            }
            None => None,
        };
        settings(&mut command, &config);
        command.args(["fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head"]);
        command.arg(format!("--depth={depth}")).arg("--").arg(&target).arg(format!("{from}:{to}"));
        let fetched = run(command, "fetch the repository", self.config.get().git.fetch_timeout).await;
        let unfinished = clear_unfinished(&folder.join("objects/pack")).await;
        match fetched {
            Ok(_) => {}
            Err(_) if unfinished >= limit.saturating_mul(1024 * 1024) => {
                return Err(match left < most {
                    true => GitError::RepositoryFull(self.config.get().git.max_repository_mib),
                    false => GitError::FetchTooLarge(most),
                });
            }
            Err(GitError::Failed { why: Failure::NoSuchBranch, .. }) => {
                return Err(GitError::NoCommits(branch.to_string()));
            }
            Err(error) => return Err(error),
        }
        // What earlier deployments fetched goes after git's two weeks.
        let mut tidy = self.git();
        tidy.env("GIT_DIR", &folder).args(["gc", "--auto", "--quiet"]);
        settings(&mut tidy, &[("gc.autoPackLimit", "20".into())]);
        if let Err(error) = run(tidy, "tidy the repository", self.config.get().git.fetch_timeout).await {
            tracing::warn!("{error}");
        }
        let mut parse = self.git();
        parse.env("GIT_DIR", &folder).args(["rev-parse", "--verify", "--quiet", &format!("{to}^{{commit}}")]);
        let output = run(parse, "read the fetched commit", LOCAL).await?;
        String::from_utf8_lossy(&output).trim().parse().map_err(|_| GitError::NoCommits(branch.to_string()))
    }

    /// A file of ours that only we can read, gone as soon as it is dropped. An environment or an argument would show the
    /// secret to whoever lists processes.
    async fn write_secret(&self, secret: &SecretString) -> Result<tempfile::NamedTempFile, GitError> {
        // The agent's own /tmp lies in memory, and is gone with an agent that is killed.
        let folder = std::env::temp_dir();
        let file =
            tempfile::Builder::new().prefix(".password-").tempfile_in(&folder).map_err(failed("write", &folder))?;
        let mut open = tokio::fs::File::from_std(file.reopen().map_err(failed("write", &folder))?);
        open.write_all(secret.expose_secret().as_bytes()).await.map_err(failed("write", &folder))?;
        open.flush().await.map_err(failed("write", &folder))?;
        Ok(file)
    }

    fn key_pair(&self, service: &ServiceName) -> (PathBuf, PathBuf) {
        let key = self.config.get().paths.keys().join(service.as_str());
        let public = key.with_extension("pub");
        (key, public)
    }

    pub(super) fn key_files(&self, service: &ServiceName) -> [PathBuf; 3] {
        let (key, public) = self.key_pair(service);
        [key, public, self.config.get().paths.keys().join(format!("{service}.hosts"))]
    }

    /// The public half of the service's deploy key, made at the first call, as a line for the forge's settings.
    pub async fn deploy_key(&self, service: &ServiceName) -> Result<String, GitError> {
        let (key, public) = self.key_pair(service);
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
