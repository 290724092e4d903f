//! The journal: what it keeps, and for how long.

use super::finding::{Finding, Level, good, wrong};
use super::host::output;
use crate::config::Config;

/// What the package sets for the user's manager, in lines a second.
const BURST: u64 = 100_000;

/// Whether it takes all that services write.
pub(super) fn limits(uid: u32) -> Finding {
    let unit = format!("user@{uid}.service");
    let burst = output("systemctl", &["show", "-P", "LogRateLimitBurst", "--", &unit]);
    match burst.and_then(|text| text.parse::<u64>().ok()) {
        Some(burst) if burst >= BURST => good("journal limits", "no service's lines are dropped"),
        _ => wrong(
            "journal limits",
            Level::Warn,
            format!("journald drops lines of {unit}, of all services together, beyond its default rate"),
            "apt install --reinstall podkeeper-host",
        ),
    }
}

/// Whether it outlives a reboot.
pub(super) fn kept(config: &Config) -> Finding {
    if config.paths.journals().first().is_some_and(|folder| folder.is_dir()) {
        good("journal", "kept over reboots")
    } else {
        wrong(
            "journal",
            Level::Warn,
            "kept in memory only, and lost at a reboot",
            "mkdir /var/log/journal && systemctl restart systemd-journald",
        )
    }
}
