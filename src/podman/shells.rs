//! The containers of isolated shells, and what a shell needs to know of a container.

use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::raw::{Body, segment};
use super::{Podman, PodmanError, Refusal};
use crate::names::{AbsPath, IdRange, ImageRef, Network, SessionId};

/// An isolated shell's container.
#[derive(Debug, Clone)]
pub struct ShellContainer {
    /// The session; it names the container and its slice.
    pub session: SessionId,
    /// Its image.
    pub image: ImageRef,
    /// Networks that it reaches beside the internet.
    pub allow: Vec<Network>,
}

impl Podman {
    /// Makes the container, which does not run yet. It has no part of the host but its home, whose volume is made with
    /// the first one. The annotations close its network but for the internet and what is allowed, by a hook of the runtime.
    pub async fn create_shell(&self, shell: &ShellContainer) -> Result<(), PodmanError> {
        let map = json!([{ "container_id": 0, "host_id": IdRange::SHELLS.base, "size": IdRange::SIZE }]);
        let spec = json!({
            "name": shell.session.container(),
            "image": shell.image.as_str(),
            "terminal": true,
            "stdin": true,
            "annotations": { "podkeeper.net": "isolated", "podkeeper.allow": Network::list(&shell.allow) },
            "labels": { "podkeeper.shell": "true" },
            "hostname": "shell",
            "env": { "TERM": "xterm-256color", "HOME": "/root" },
            "work_dir": "/root",
            "user": "0:0",
            "userns": { "nsmode": "private" },
            "idmappings": { "HostUIDMapping": false, "HostGIDMapping": false, "UIDMap": map, "GIDMap": map },
            // What a package manager needs within the container's own user namespace, and nothing else.
            "cap_drop": ["ALL"],
            "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
            "no_new_privileges": true,
            "volumes": [{ "Name": SessionId::HOME, "Dest": "/root" }],
            "netns": { "nsmode": "pasta" },
            "network_options": { "pasta": ["--map-guest-addr", "none"] },
            "use_image_hosts": true,
            "cgroup_parent": shell.session.slice(),
            // What is typed and shown in a terminal is nobody's log.
            "log_configuration": { "driver": "none" },
            "stop_signal": 9,
        });
        self.raw("make the shell's container", Method::POST, "/libpod/containers/create", Body::Json(&spec))
            .await
            .map(drop)
    }

    /// Readies a container up to its first program: its namespaces are there, and the runtime's hooks have run.
    pub async fn init_container(&self, name: &str) -> Result<(), PodmanError> {
        let path = format!("/libpod/containers/{}/init", segment(name));
        self.raw("ready the container", Method::POST, &path, Body::None).await.map(drop)
    }

    /// The file that tells what the runtime made the container of.
    pub async fn runtime_spec(&self, name: &str) -> Result<AbsPath, PodmanError> {
        #[derive(Deserialize)]
        struct Inspect {
            #[serde(rename = "OCIConfigPath")]
            path: AbsPath,
        }
        Ok(self.inspect::<Inspect>(name).await?.path)
    }

    /// The path of a running container's network.
    pub async fn network(&self, name: &str) -> Result<AbsPath, PodmanError> {
        #[derive(Deserialize)]
        struct Inspect {
            #[serde(rename = "NetworkSettings")]
            settings: Settings,
        }
        #[derive(Deserialize)]
        struct Settings {
            #[serde(rename = "SandboxKey")]
            path: AbsPath,
        }
        Ok(self.inspect::<Inspect>(name).await?.settings.path)
    }

    async fn inspect<T: DeserializeOwned>(&self, name: &str) -> Result<T, PodmanError> {
        let what = "inspect the container";
        let path = format!("/libpod/containers/{}/json", segment(name));
        let body = self.raw(what, Method::GET, &path, Body::None).await?;
        serde_json::from_slice(&body).map_err(|source| PodmanError::Answer { what, source })
    }

    /// Whether a container has something at `path`.
    pub async fn has_file(&self, name: &str, path: &str) -> Result<bool, PodmanError> {
        let url = format!("/libpod/containers/{}/archive?path={}", segment(name), segment(path));
        match self.raw("look into the container", Method::HEAD, &url, Body::None).await {
            Ok(_) => Ok(true),
            Err(PodmanError::Refused { why: Refusal::NotFound, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
