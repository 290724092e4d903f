//! Which of the services' limits the host's kernel enforces.

use std::path::Path;

use super::Services;
use crate::config::system;
use crate::store::Settings;
use crate::words::words;

/// What can be limited, by the kernel's controllers (Documentation/admin-guide/cgroup-v2.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory.
    pub memory: bool,
    /// CPU time.
    pub cpu: bool,
    /// Processes and threads.
    pub processes: bool,
}

words! {
    /// A setting that limits a service, by its name.
    Limit {
        /// Its memory.
        Memory = "memory_mib",
        /// Its CPU time.
        Cpu = "cpu_percent",
    }
}

impl Limits {
    fn parse(controllers: &str) -> Self {
        let has = |name| controllers.split_whitespace().any(|controller| controller == name);
        Self { memory: has("memory"), cpu: has("cpu"), processes: has("pids") }
    }

    /// Those of the settings that are set and count for nothing.
    #[must_use]
    pub fn unenforced(self, settings: &Settings) -> Vec<Limit> {
        let memory = (settings.memory_mib.is_some() && !self.memory).then_some(Limit::Memory);
        let cpu = (settings.cpu_percent.is_some() && !self.cpu).then_some(Limit::Cpu);
        memory.into_iter().chain(cpu).collect()
    }
}

impl Services {
    /// What the service user's systemd may limit; none where that can't be seen.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        let manager = self.uses.units.cgroup()?;
        let folder = Path::new(system::CGROUPS).join(manager.trim_start_matches('/'));
        let controllers = std::fs::read_to_string(folder.join("cgroup.controllers")).ok()?;
        Some(Limits::parse(&controllers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_its_controller_counts_for_nothing() {
        let settings = Settings { memory_mib: Some(64), cpu_percent: Some(50), ..Settings::default() };
        assert_eq!(Limits::parse("cpuset cpu io memory pids\n").unenforced(&settings), []);
        assert_eq!(Limits::parse("cpu pids\n").unenforced(&settings), [Limit::Memory]);
        assert_eq!(Limits::parse("").unenforced(&settings), [Limit::Memory, Limit::Cpu]);
        assert_eq!(Limits::parse("").unenforced(&Settings::default()), []);
    }
}
