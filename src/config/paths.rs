//! Folders and programs, and what lies where in the state's folder.

use std::path::PathBuf;

use serde::Deserialize;

use super::system::JOURNALS;
use crate::names::{AbsPath, ReleaseName};

/// Folders and programs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// The agent's state: store, repositories, build contexts, keys. Also the service user's home.
    pub state: AbsPath,
    /// Where Quadlet reads the service user's container files.
    pub quadlets: AbsPath,
    /// The proxy's routing table: `HOST/PORT`, an empty file a route.
    pub routes: AbsPath,
    /// The service templates.
    pub templates: AbsPath,
    /// The recipe of the isolated shell's image: a folder with a Containerfile.
    pub shell: AbsPath,
    /// Git hooks, and what git and ssh ask for passwords.
    pub helpers: AbsPath,
    /// The git program.
    pub git: AbsPath,
    /// The podman program.
    pub podman: AbsPath,
    /// The buildah program, which builds images.
    pub buildah: AbsPath,
    /// The proxy's program, which is asked for its version.
    pub caddy: AbsPath,
    /// The folder of the journal's files; none: where journald keeps the host's.
    pub journal: Option<AbsPath>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state: AbsPath::known("/var/lib/podkeeper"),
            quadlets: AbsPath::known("/var/lib/podkeeper/.config/containers/systemd"),
            routes: AbsPath::known("/var/lib/podkeeper-proxy/routes"),
            templates: AbsPath::known("/usr/share/podkeeper/templates"),
            shell: AbsPath::known("/usr/share/podkeeper/shell"),
            helpers: AbsPath::known("/usr/lib/podkeeper"),
            git: AbsPath::known("/usr/bin/git"),
            podman: AbsPath::known("/usr/bin/podman"),
            buildah: AbsPath::known("/usr/bin/buildah"),
            caddy: AbsPath::known("/usr/bin/caddy"),
            journal: None,
        }
    }
}

impl Paths {
    /// The SQLite store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.state.join("agent/store.db")
    }
    /// Where the service user's manager reads its own units.
    #[must_use]
    pub fn user_units(&self) -> PathBuf {
        self.state.join(".config/systemd/user")
    }
    /// The bare repositories, `NAME.git` each.
    #[must_use]
    pub fn repositories(&self) -> PathBuf {
        self.state.join("git")
    }
    /// The build contexts, a folder a deployment.
    #[must_use]
    pub fn contexts(&self) -> PathBuf {
        self.state.join("builds")
    }
    /// What is kept from build to build, a folder a service.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.state.join("cache")
    }
    /// What tells of terminal sessions that must be cleared away after a crash, an empty file each.
    #[must_use]
    pub fn sessions(&self) -> PathBuf {
        self.state.join("agent/sessions")
    }
    /// For how long nothing has named an image, a file each.
    #[must_use]
    pub fn unnamed(&self) -> PathBuf {
        self.state.join("agent/unnamed")
    }

    /// For how long a working container of a build has been there.
    #[must_use]
    pub fn working_containers(&self) -> PathBuf {
        self.state.join("agent/working-containers")
    }

    /// For how long no container has had a volume that Podman named.
    #[must_use]
    pub fn unused_volumes(&self) -> PathBuf {
        self.state.join("agent/unused-volumes")
    }
    /// What of the disk is taken by what, as it was measured last.
    #[must_use]
    pub fn measured(&self) -> PathBuf {
        self.state.join("agent/measured.json")
    }
    /// What a release's program listens on, as it was looked at last.
    #[must_use]
    pub fn listening(&self, release: &ReleaseName) -> PathBuf {
        self.state.join(format!("agent/listening-{}.json", release.container()))
    }
    /// The deploy keys of external repositories.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }

    /// The folders of the journal's files.
    #[must_use]
    pub fn journals(&self) -> Vec<PathBuf> {
        match &self.journal {
            Some(folder) => vec![folder.to_path_buf()],
            None => JOURNALS.map(PathBuf::from).into(),
        }
    }

    /// The logins at registries, where Podman looks for them (containers-auth.json(5)).
    #[must_use]
    pub fn logins(&self) -> PathBuf {
        self.state.join(".config/containers/auth.json")
    }
}
