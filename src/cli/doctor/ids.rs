//! The ids that containers of services have.

use super::finding::{Finding, Level, good, wrong};
use super::host::USER;
use crate::config::Config;
use crate::names::IdRange;

/// How many ids a user has by the lines of a subuid(5) file.
fn count_ids(text: &str) -> u64 {
    let ours = text.lines().filter_map(|line| line.strip_prefix(USER)?.strip_prefix(':'));
    ours.filter_map(|rest| rest.split(':').nth(1)?.parse::<u64>().ok()).sum()
}

/// The ids that a user has by them.
pub(super) fn ranges(text: &str) -> Vec<std::ops::Range<u32>> {
    let ours = text.lines().filter_map(|line| line.strip_prefix(USER)?.strip_prefix(':'));
    let range = |rest: &str| {
        let (first, count) = rest.split_once(':')?;
        let first: u32 = first.parse().ok()?;
        Some(first..first.saturating_add(count.parse().ok()?))
    };
    ours.filter_map(range).collect()
}

/// Whether a subuid(5) file gives enough for all services.
pub(super) fn ids(file: &'static str, config: &Config) -> Finding {
    let what = if file.ends_with("uid") { "user ids" } else { "group ids" };
    let count = count_ids(&std::fs::read_to_string(file).unwrap_or_default());
    let services = count / u64::from(IdRange::SIZE);
    if services == 0 {
        let next = format!("add `{USER}:FIRST:67108864` to {file}, then: systemctl restart user@$(id -u {USER})");
        return wrong(what, Level::Bad, format!("{file} gives {USER} too few ids for even one service"), next);
    }
    if services < u64::from(config.services.max) {
        let next = format!("widen {USER}'s range in {file}, or lower `services.max`");
        return wrong(what, Level::Warn, format!("enough for {services} of {} services", config.services.max), next);
    }
    good(what, format!("enough for {services} services"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_ranges_are_read() {
        let ranges = ranges("root:1:2\npodkeeper:100000:65536\npodkeeper:x:1\npodkeeper:7:1\n");
        assert_eq!(ranges, [100_000..165_536, 7..8]);
        assert_eq!(count_ids("root:1:2\npodkeeper:100000:65536\npodkeeper2:1:5\npodkeeper:200000:4\n"), 65_540);
    }
}
