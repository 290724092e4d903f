//! A release's health check: systemd runs it, in the service's slice and within limits, as long as the release runs.
//!
//! Podman's own timer has no limits: what a check prints is held in the memory of the Podman that runs it, and one that hangs
//! is never ended. So a release's unit forbids Podman that timer, and wants this one.

use std::fmt::Write;
use std::time::Duration;

use super::spec::{CheckSpec, ContainerSpec};
use crate::names::ReleaseName;

/// How much memory Podman and its monitor may take for a check. What the check itself takes is in the release's own unit.
const MEMORY: &str = "128M";
/// How many threads and processes these two may have.
const TASKS: u32 = 64;
/// How little CPU they may be given, in percent of one core, however little the service is: a run costs a tenth of a second.
const LEAST_CPU: u32 = 20;
/// How much longer than the check itself its unit may live: Podman's start, and then the check's end.
const MARGIN: Duration = Duration::from_secs(60);

/// The texts of the two units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFiles {
    /// `podkeeper-check-blog-41.timer`.
    pub timer: String,
    /// `podkeeper-check-blog-41.service`.
    pub service: String,
}

/// The texts of the two units, where the release has a health check.
#[must_use]
pub fn render(spec: &ContainerSpec) -> Option<CheckFiles> {
    let check = spec.check.as_ref()?;
    Some(CheckFiles { timer: timer(&spec.release, check), service: service(&spec.release, check, spec.cpu_percent) })
}

fn timer(release: &ReleaseName, check: &CheckSpec) -> String {
    let (mut text, unit) = (begun(release, "When the health is checked"), release.unit());
    // It comes and goes with the release's unit. It does not wait for that, which waits for a check; by the defaults it would.
    let _ = write!(
        text,
        "DefaultDependencies=no\nConflicts=shutdown.target\nBefore=shutdown.target\nBindsTo={unit}\n\n\
         [Timer]\nOnActiveSec=1\nOnUnitInactiveSec={}\nAccuracySec=1\n",
        check.interval.as_secs()
    );
    text
}

fn service(release: &ReleaseName, check: &CheckSpec, cpu_percent: Option<u32>) -> String {
    let mut text = begun(release, "Health check");
    let CheckSpec { program, podman, timeout, .. } = check;
    let _ = write!(
        text,
        "PartOf={}\n\
         # Where the agent is not installed any more, nobody asks for the service's health.\n\
         ConditionFileIsExecutable={program}\n\n\
         [Service]\nType=oneshot\nSlice={}\n\
         ExecStart={program} health-check {} -- {podman} healthcheck run {}\n\
         # Podman is not to have a thread for each of the host's processors.\nEnvironment=GOMAXPROCS=2\n\
         StandardInput=null\nStandardOutput=null\nStandardError=journal\nSyslogIdentifier={}\n\
         TimeoutStartSec={}\nTimeoutStopSec=5\n\
         MemoryMax={MEMORY}\nMemorySwapMax=0\nTasksMax={TASKS}\nCPUQuota={}%\nCPUWeight=20\n\
         # Where Podman takes too much, what is left of the check is ended, and written down as failed.\nOOMPolicy=continue\n",
        release.unit(),
        release.service.slice(),
        timeout.as_secs(),
        release.container(),
        release.service.check_identifier(),
        (*timeout + MARGIN).as_secs(),
        cpu_percent.unwrap_or(100).clamp(LEAST_CPU, 100),
    );
    text
}

/// What both begin with.
fn begun(release: &ReleaseName, what: &str) -> String {
    format!(
        "# Written by Podkeeper once, with {}, and removed with it.\n[Unit]\nDescription={what} of {}, release {}\n\
         CollectMode=inactive-or-failed\n\
         # Each restart of the release starts the timer anew, twice, and a deployment runs the check again and again. By\n\
         # systemd's defaults the sixth start within ten seconds is refused, and nobody asks for another one.\n\
         StartLimitIntervalSec=0\n",
        release.quadlet_file(),
        release.service,
        release.number
    )
}

#[cfg(test)]
mod tests {
    use super::super::quadlet::tests::spec;
    use super::*;

    #[test]
    fn a_health_check_has_limits_and_its_releases_life() {
        let CheckFiles { timer, service } = render(&spec()).unwrap();
        let has = |text: &str, line: &str| assert!(text.lines().any(|l| l == line), "`{line}` is missing from\n{text}");
        for line in ["BindsTo=blog@41.service", "OnUnitInactiveSec=5", "DefaultDependencies=no"] {
            has(&timer, line);
        }
        // As the sixth start within ten seconds would be, by systemd's defaults.
        for text in [&timer, &service] {
            has(text, "StartLimitIntervalSec=0");
        }
        for line in [
            "PartOf=blog@41.service",
            "Slice=app-blog.slice",
            "ExecStart=/usr/bin/podkeeper health-check 30 -- /usr/bin/podman healthcheck run blog-41",
            "TimeoutStartSec=90",
            "MemoryMax=128M",
            "MemorySwapMax=0",
            "TasksMax=64",
            "CPUQuota=50%",
            "StandardOutput=null",
        ] {
            has(&service, line);
        }
        let slow = render(&ContainerSpec { cpu_percent: Some(1), ..spec() }).unwrap();
        has(&slow.service, "CPUQuota=20%");
        let release = ReleaseName { service: "my-blog".parse().unwrap(), ..spec().release };
        has(&render(&ContainerSpec { release, ..spec() }).unwrap().service, "Slice=app-my\\x2dblog.slice");
        assert_eq!(render(&ContainerSpec { check: None, ..spec() }), None);
    }
}
