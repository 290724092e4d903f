//! Units that run one program to its end, and the limits of a slice.

use std::time::Duration;

use zbus::{OwnedVariant, Variant};

use super::build::owned;
use super::{Argv, JobResult, UnitsError, UserManager};

/// How long a change of limits may take.
const CALL: Duration = Duration::from_secs(15);

/// What all of a slice may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory in MiB; nothing of it is swapped.
    pub memory_mib: u64,
    /// CPU in percent of one core.
    pub cpu_percent: u32,
    /// Processes and threads.
    pub tasks: u32,
}

impl UserManager {
    /// Limits a slice until the manager's next start.
    pub async fn limit(&self, slice: &str, limits: Limits) -> Result<(), UnitsError> {
        let bytes = limits.memory_mib.saturating_mul(1024 * 1024);
        let micros = u64::from(limits.cpu_percent).saturating_mul(10_000);
        self.call("SetUnitProperties", CALL, |manager| async move {
            let property = |name: &str, value: Variant<'_>| Ok((name.to_owned(), owned(value)?));
            let properties: zbus::Result<Vec<(String, OwnedVariant)>> = [
                property("MemoryMax", Variant::from(bytes)),
                property("MemorySwapMax", Variant::from(0_u64)),
                property("CPUQuotaPerSecUSec", Variant::from(micros)),
                property("CPUWeight", Variant::from(50_u64)),
                property("TasksMax", Variant::from(u64::from(limits.tasks))),
            ]
            .into_iter()
            .collect();
            manager.set_unit_properties(slice.into(), true, properties?).await
        })
        .await
    }

    /// Runs a program to its end as `unit`, outside the agent's own confinement. Nothing of the unit stays.
    pub async fn run_once(&self, unit: &str, argv: &Argv, limit: Duration) -> Result<JobResult, UnitsError> {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        self.job("StartTransientUnit", unit, limit, |manager| async move {
            let property = |name: &str, value: Variant<'_>| Ok((name.to_owned(), owned(value)?));
            let properties: zbus::Result<Vec<(String, OwnedVariant)>> = [
                property("Description", Variant::from("Podkeeper tidies up")),
                property("Type", Variant::from("oneshot")),
                // Beyond it nobody waits for it.
                property("TimeoutStartUSec", Variant::from(micros)),
                property("CollectMode", Variant::from("inactive-or-failed")),
                property("SyslogIdentifier", Variant::from("podkeeper")),
                property("ExecStart", Variant::from(vec![argv.exec(false)])),
            ]
            .into_iter()
            .collect();
            manager.start_transient_unit(unit.into(), "fail".into(), properties?, Vec::new()).await
        })
        .await
    }
}
