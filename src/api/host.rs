//! The host itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::services::limits;
use crate::text::Plain;
use crate::{deploys, host};

/// How the host is. What it doesn't tell is null.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Host {
    /// Since when the agent runs.
    #[schemars(with = "super::fields::Moment")]
    pub started: Timestamp,
    /// Its disks.
    pub disk: Disks,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Which limits its kernel enforces for services and builds.
    pub limits: Option<Limits>,
    /// What it runs.
    pub versions: Versions,
    /// What takes the disk; null until that was measured once.
    pub space: Option<Space>,
    /// Whether it is being measured now, because what was measured is old.
    pub measuring: bool,
    /// What the agent's maintenance could not do, and still can't, each once.
    pub troubles: Vec<Trouble>,
    /// Whether there are more than those.
    pub more_troubles: bool,
}

/// The file systems that the agent writes to; they may be one.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Disks {
    /// The one of the agent's state.
    pub state: Option<Disk>,
    /// The one of Podman's storage: images, volumes and containers.
    pub containers: Option<Disk>,
}

/// A file system.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Disk {
    /// Its size.
    pub total_bytes: u64,
    /// What is free for the agent and the services.
    pub free_bytes: u64,
}

/// Which limits the kernel enforces.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Limits {
    /// Memory: `memory_mib`.
    pub memory: bool,
    /// CPU time: `cpu_percent`.
    pub cpu: bool,
    /// Processes and threads.
    pub processes: bool,
}

impl From<limits::Limits> for Limits {
    fn from(limits: limits::Limits) -> Self {
        let limits::Limits { memory, cpu, processes } = limits;
        Self { memory, cpu, processes }
    }
}

impl Limits {
    /// What is not enforced, in words.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [(self.memory, "memory"), (self.cpu, "CPU time"), (self.processes, "processes")];
        all.into_iter().filter(|(is_enforced, _)| !is_enforced).map(|(_, what)| what).collect()
    }
}

/// The memory.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What programs can have.
    pub available_bytes: u64,
}

/// The versions of what the host runs.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Versions {
    /// The agent.
    pub podkeeper: String,
    /// Podman.
    pub podman: Option<String>,
    /// systemd.
    pub systemd: Option<String>,
    /// The kernel.
    pub kernel: Option<String>,
    /// git.
    pub git: Option<String>,
    /// The proxy, with its name.
    pub proxy: Option<String>,
    /// The distribution, as it calls itself.
    pub os: Option<String>,
}

/// What took the disk when it was measured.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Space {
    /// When it was.
    #[schemars(with = "super::fields::Moment")]
    pub measured: Timestamp,
    /// The images in Podman's storage.
    pub images: Option<Images>,
    /// The volumes there.
    pub volumes: Option<Volumes>,
    /// What is kept from build to build, in bytes, by service.
    pub caches: Option<BTreeMap<String, u64>>,
    /// All repositories.
    pub repositories_bytes: Option<u64>,
    /// The agent's database.
    pub database_bytes: Option<u64>,
    /// The journal of the whole host.
    pub journal_bytes: Option<u64>,
}

/// Images.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Images {
    /// How many there are.
    pub count: u64,
    /// What all of them take.
    pub bytes: u64,
    /// How many of them no release, no container and no setting names. They go after `builds.keep_cache`.
    pub unnamed: u64,
    /// What goes with those.
    pub unnamed_bytes: u64,
}

/// Volumes.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Volumes {
    /// How many there are.
    pub count: u64,
    /// What they hold.
    pub bytes: u64,
}

/// What maintenance could not do.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Trouble {
    /// The service; null where it concerns the whole host.
    pub service: Option<String>,
    /// What was to be done, as in "can't …".
    pub task: String,
    /// Why not.
    #[schemars(with = "String")]
    pub why: Plain,
    /// What to do next, where that is known.
    #[schemars(with = "Option<String>")]
    pub hint: Option<Plain>,
    /// Since when.
    #[schemars(with = "super::fields::Moment")]
    pub since: Timestamp,
    /// When it was tried last.
    #[schemars(with = "super::fields::Moment")]
    pub last: Timestamp,
    /// How often it was tried in vain.
    pub times: u32,
}

impl From<host::Disk> for Disk {
    fn from(host::Disk { total, free }: host::Disk) -> Self {
        Self { total_bytes: total, free_bytes: free }
    }
}

impl From<host::Memory> for Memory {
    fn from(host::Memory { total, available }: host::Memory) -> Self {
        Self { total_bytes: total, available_bytes: available }
    }
}

impl From<host::Versions> for Versions {
    fn from(versions: host::Versions) -> Self {
        let host::Versions { podman, systemd, kernel, git, proxy, os } = versions;
        let text = |version: Option<Plain>| version.map(String::from);
        Self {
            podkeeper: env!("CARGO_PKG_VERSION").to_owned(),
            podman: text(podman),
            systemd: text(systemd),
            kernel: text(kernel),
            git: text(git),
            proxy: text(proxy),
            os: text(os),
        }
    }
}

impl From<host::Space> for Space {
    fn from(space: host::Space) -> Self {
        let host::Space { measured, images, volumes, caches, repositories, database, journal } = space;
        let images = images.map(|host::Images { count, bytes, unnamed, unnamed_bytes }| Images {
            count,
            bytes,
            unnamed,
            unnamed_bytes,
        });
        Self {
            measured,
            images,
            volumes: volumes.map(|host::Volumes { count, bytes }| Volumes { count, bytes }),
            caches,
            repositories_bytes: repositories,
            database_bytes: database,
            journal_bytes: journal,
        }
    }
}

impl From<deploys::Trouble> for Trouble {
    fn from(trouble: deploys::Trouble) -> Self {
        let deploys::Trouble { task, service, why, hint, since, last, times } = trouble;
        let service = service.map(|service| service.to_string());
        Self { service, task: task.as_str().to_owned(), why, hint, since, last, times }
    }
}
