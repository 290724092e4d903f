//! What the services use, by the cgroup files and one question to Podman.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{ServiceError, Services};
use crate::config::system;
use crate::names::{ReleaseName, ServiceName};
use crate::podman::Traffic;

/// What a service uses; a figure that the host doesn't count is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// CPU time since the last look, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// CPU time since the unit began.
    pub cpu_time: Option<Duration>,
    /// Memory in use.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// What went in and out over the container's own network interface, by Podman's count.
    pub traffic: Option<Traffic>,
}

impl Services {
    /// What all services use, by name: one sweep over the cgroup files, and one question to Podman.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn figures(&self) -> Result<BTreeMap<ServiceName, Figures>, ServiceError> {
        let services = self.uses.store.services().await?.into_iter();
        let current = services.filter_map(|service| Some(ReleaseName::new(&service.name, service.current?)));
        // A Podman that doesn't answer counts nothing.
        let mut traffic = self.uses.podman.traffic().await.unwrap_or_default();
        let figures = |release: ReleaseName| {
            let traffic = traffic.remove(&release.container());
            (release.service.clone(), Figures { traffic, ..self.figures_of(&release) })
        };
        Ok(current.map(figures).collect())
    }

    /// What a release uses, but for its traffic.
    pub(super) fn figures_of(&self, release: &ReleaseName) -> Figures {
        let unit = release.unit();
        let Some(folder) = self.cgroup(&release.service, &unit) else { return Figures::default() };
        let cpu = cpu_micros(&folder);
        let cpu_percent = cpu.and_then(|cpu| {
            let now = Instant::now();
            let before = self.live.with(&unit, |memory| memory.cpu.replace((cpu, now)));
            let (before, at) = before?;
            let span = now.duration_since(at).as_secs_f64();
            (span > 0.05).then(|| cpu.saturating_sub(before) as f64 / span / 10_000.0)
        });
        Figures {
            cpu_percent,
            cpu_time: cpu.map(Duration::from_micros),
            memory_bytes: number_in(&folder, "memory.current"),
            pids: number_in(&folder, "pids.current"),
            traffic: None,
        }
    }

    /// The cgroup folder of a service's unit. systemd derives the slice from the unit's name.
    fn cgroup(&self, service: &ServiceName, unit: &str) -> Option<PathBuf> {
        let manager = self.uses.units.cgroup()?;
        let app = Path::new(system::CGROUPS).join(manager.trim_start_matches('/')).join("app.slice");
        Some(app.join(service.slice()).join(unit))
    }
}

fn number_in(folder: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// `usage_usec` of the cgroup's cpu.stat (Documentation/admin-guide/cgroup-v2.rst).
fn cpu_micros(folder: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join("cpu.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
}
