//! The proxy's routing table, which is a folder: `HOST/PORT`, an empty file a route, looked up at each request.
//!
//! Routes overlap for a moment when they change; a file is never renamed, since the proxy's look-up would miss both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::names::HostName;
use crate::problem::{Code, Problem};

/// Why the routing table can't be used.
#[derive(Debug, Clone, Error)]
#[error("can't {what} `{path}`")]
pub struct ProxyError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: Arc<std::io::Error>,
}

impl ProxyError {
    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        if self.source.kind() == std::io::ErrorKind::StorageFull {
            return Problem::new(Code::DiskFull, "no space is left on the host's disk");
        }
        Problem::new(Code::Internal, "the proxy's routing table can't be changed")
            .with_hint("`podkeeper doctor` on the host tells what is wrong")
    }
}

/// The routing table.
#[derive(Debug, Clone)]
pub struct Routes {
    folder: PathBuf,
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> ProxyError + 'a {
    move |source| ProxyError { what, path: path.to_owned(), source: Arc::new(source) }
}

fn absent_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

async fn sync(folder: &Path) -> Result<(), ProxyError> {
    let sync = async { tokio::fs::File::open(folder).await?.sync_all().await };
    sync.await.map_err(failed("sync", folder))
}

impl Routes {
    /// The table below `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The ports that `host` leads to.
    pub async fn ports(&self, host: &HostName) -> Result<Vec<u16>, ProxyError> {
        let folder = self.folder.join(host.as_str());
        let mut ports = Vec::new();
        let mut entries = match tokio::fs::read_dir(&folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ports),
            Err(error) => return Err(failed("list", &folder)(error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(failed("list", &folder))? {
            ports.extend(entry.file_name().to_str().and_then(|name| name.parse::<u16>().ok()));
        }
        Ok(ports)
    }

    /// Leads `host` to `port`, beside where it leads already.
    pub async fn add(&self, host: &HostName, port: u16) -> Result<(), ProxyError> {
        let folder = self.folder.join(host.as_str());
        tokio::fs::create_dir_all(&folder).await.map_err(failed("make", &folder))?;
        // The proxy's user reads these folders, whatever the agent's umask is.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        tokio::fs::set_permissions(&folder, readable).await.map_err(failed("open", &folder))?;
        let file = folder.join(port.to_string());
        tokio::fs::write(&file, b"").await.map_err(failed("write", &file))?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        tokio::fs::set_permissions(&file, readable).await.map_err(failed("open", &file))?;
        sync(&folder).await?;
        sync(&self.folder).await
    }

    /// Leads `host` to `port` no longer.
    pub async fn remove(&self, host: &HostName, port: u16) -> Result<(), ProxyError> {
        let folder = self.folder.join(host.as_str());
        let file = folder.join(port.to_string());
        absent_is_fine(tokio::fs::remove_file(&file).await).map_err(failed("remove", &file))?;
        match tokio::fs::remove_dir(&folder).await {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => sync(&folder).await,
            other => {
                absent_is_fine(other).map_err(failed("remove", &folder))?;
                sync(&self.folder).await
            }
        }
    }

    /// Leads `host` nowhere.
    pub async fn remove_host(&self, host: &HostName) -> Result<(), ProxyError> {
        for port in self.ports(host).await? {
            self.remove(host, port).await?;
        }
        Ok(())
    }

    /// The whole table. What can't be read of one host says nothing of the others.
    pub async fn hosts(&self) -> Result<Vec<(HostName, Result<Vec<u16>, ProxyError>)>, ProxyError> {
        let mut hosts = Vec::new();
        let mut entries = match tokio::fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(hosts),
            Err(error) => return Err(failed("list", &self.folder)(error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(failed("list", &self.folder))? {
            if let Some(host) = entry.file_name().to_str().and_then(|name| name.parse::<HostName>().ok()) {
                let ports = self.ports(&host).await;
                hosts.push((host, ports));
            }
        }
        Ok(hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn routes_overlap_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let routes = Routes::new(folder.path().to_owned());
        let host: HostName = "blog.localhost".parse().unwrap();
        routes.add(&host, 20_001).await.unwrap();
        routes.add(&host, 20_002).await.unwrap();
        routes.remove(&host, 20_001).await.unwrap();
        routes.remove(&host, 20_001).await.unwrap();
        // Somebody's file in the place of a folder.
        std::fs::write(folder.path().join("notes.localhost"), b"").unwrap();
        let (mut read, mut unread) = (Vec::new(), Vec::new());
        for (host, ports) in routes.hosts().await.unwrap() {
            match ports {
                Ok(ports) => read.push((host, ports)),
                Err(_) => unread.push(host.to_string()),
            }
        }
        assert_eq!((read, unread), (vec![(host.clone(), vec![20_002])], vec!["notes.localhost".to_owned()]));
        std::fs::remove_file(folder.path().join("notes.localhost")).unwrap();
        routes.remove_host(&host).await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
