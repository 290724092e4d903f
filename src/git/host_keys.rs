//! The ssh keys by which a service knows its forge: the first that it met, until somebody takes another.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::command::{failed, run};
use super::{GitError, Repositories};
use crate::config::system;
use crate::names::{Fingerprint, HostKey, RepoUri, ServiceName};

/// How long a forge may take to tell its keys, in seconds.
const PATIENCE: u64 = 20;
/// How many keys of a host are looked at.
const MOST: usize = 10;

/// A key's kind and its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// Such as `ssh-ed25519`.
    pub kind: String,
    /// What people compare.
    pub fingerprint: Fingerprint,
}

/// The keys of a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeys {
    /// The host.
    pub host: String,
    /// What the service knows of it.
    pub known: Vec<ShownKey>,
    /// What it shows at the moment.
    pub offered: Vec<ShownKey>,
}

fn shown(key: &HostKey) -> ShownKey {
    let digest: [u8; 32] = Sha256::digest(key.bytes()).into();
    ShownKey { kind: key.kind().to_owned(), fingerprint: Fingerprint::of(&digest) }
}

/// The keys in lines of `HOSTS KIND KEY`, of the hosts that `is_own` takes.
fn keys(text: &str, is_own: impl Fn(&str) -> bool) -> Vec<HostKey> {
    let lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    lines.filter(|(host, _)| is_own(host)).filter_map(|(_, key)| HostKey::read(key)).take(MOST).collect()
}

impl Repositories {
    async fn known_keys(&self, service: &ServiceName) -> Result<String, GitError> {
        let file = self.known_hosts(service);
        match tokio::fs::read_to_string(&file).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(failed("read", &file)),
        }
    }

    async fn offered_keys(&self, uri: &RepoUri) -> Result<Vec<HostKey>, GitError> {
        let address = self.address(&uri.host(), uri.port()).await?;
        let mut scan = tokio::process::Command::new(system::SSH_KEYSCAN);
        scan.env_clear().stdin(std::process::Stdio::null()).kill_on_drop(true).process_group(0);
        // One connection each: sshd shuts out who comes too often and never signs in.
        scan.args(["-t", "ed25519,ecdsa,rsa"]);
        scan.arg("-T")
            .arg(PATIENCE.to_string())
            .arg("-p")
            .arg(uri.port().to_string())
            .arg("--")
            .arg(address.to_string());
        let limit = std::time::Duration::from_secs(3 * PATIENCE);
        let printed = run(scan, "ask the forge for its ssh keys", limit).await?;
        let offered = keys(&String::from_utf8_lossy(&printed), |host| !host.starts_with('#'));
        if offered.is_empty() { Err(GitError::NoHostKey(uri.host())) } else { Ok(offered) }
    }

    /// The keys of the forge at `uri`, as the service knows them and as they are.
    pub async fn host_keys(&self, service: &ServiceName, uri: &RepoUri) -> Result<HostKeys, GitError> {
        let host = uri.host();
        let known = keys(&self.known_keys(service).await?, |name| name == host);
        let offered = self.offered_keys(uri).await?;
        Ok(HostKeys { known: known.iter().map(shown).collect(), offered: offered.iter().map(shown).collect(), host })
    }

    /// From here on the service knows the forge at `uri` by the key with this fingerprint, which it must show at the moment,
    /// and by no other.
    pub async fn take_host_key(
        &self,
        service: &ServiceName,
        uri: &RepoUri,
        fingerprint: &Fingerprint,
    ) -> Result<HostKeys, GitError> {
        let (host, offered) = (uri.host(), self.offered_keys(uri).await?);
        let Some(taken) = offered.iter().find(|key| shown(key).fingerprint == *fingerprint) else {
            return Err(GitError::OtherHostKey { host, fingerprint: fingerprint.clone() });
        };
        let before = self.known_keys(service).await?;
        let mut lines: Vec<&str> =
            before.lines().filter(|line| line.split(char::is_whitespace).next() != Some(&host)).collect();
        let line = format!("{host} {taken}");
        lines.push(&line);
        let (file, text) = (self.known_hosts(service), format!("{}\n", lines.join("\n")));
        let folder = self.config.get().paths.keys();
        tokio::fs::create_dir_all(&folder).await.map_err(failed("make", &folder))?;
        let write = {
            let (file, folder) = (file.clone(), folder.clone());
            move || -> std::io::Result<()> {
                let mut part = tempfile::NamedTempFile::new_in(&folder)?;
                part.write_all(text.as_bytes())?;
                part.as_file().sync_all()?;
                part.persist(file).map_err(|error| error.error)?;
                std::fs::File::open(folder)?.sync_all()
            }
        };
        let written = tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other).and_then(|done| done);
        written.map_err(failed("write", &file))?;
        Ok(HostKeys { host, known: vec![shown(taken)], offered: offered.iter().map(shown).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_one_host_are_read() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        let text = format!("a.example {key}\nb.example {key} x\n# c\nbroken\n[1.2.3.4]:22 {key}\n");
        let of = |host: &str| keys(&text, |name| name == host);
        assert_eq!((of("a.example").len(), of("b.example").len(), of("c.example").len()), (1, 1, 0));
        assert_eq!(keys(&text, |host| !host.starts_with('#')).len(), 3);
        // As `ssh-keygen -l` prints it.
        assert_eq!(
            shown(&of("a.example")[0]).fingerprint.as_str(),
            "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
        );
    }
}
