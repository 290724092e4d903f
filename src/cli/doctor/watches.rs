//! What watches files.

use super::finding::{Finding, Level, good, wrong};
use super::host::USER;
use super::{ids, inotify};
use crate::config::system;

/// systemd, journald's readers and programs of services watch files; who has no watch left doesn't start.
pub(super) fn watches(uid: u32) -> Vec<Finding> {
    let ranges = std::fs::read_to_string(system::SUBUID).map_or_else(|_| Vec::new(), |text| ids::ranges(&text));
    let owners: Vec<_> = std::iter::once(uid..uid.saturating_add(1)).chain(ranges).collect();
    let used = inotify::used(&owners);
    let finding = |what: &'static str, key: &'static str, used: Option<u64>| {
        let most = std::fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/"))).ok();
        let Some(most) = most.and_then(|text| text.trim().parse::<u64>().ok()) else {
            return wrong(what, Level::Warn, format!("{key} can't be read"), "mount -t proc proc /proc");
        };
        match used {
            Some(used) if used.saturating_mul(10) >= most.saturating_mul(8) => wrong(
                what,
                Level::Warn,
                format!("{USER} and its services have {used} of the {most} that a user may have"),
                format!("echo {key} = {} >/etc/sysctl.d/90-inotify.conf && sysctl --system", most.saturating_mul(4)),
            ),
            Some(used) => good(what, format!("{used} of {most} are taken")),
            None => good(what, format!("a user may have {most}")),
        }
    };
    vec![
        finding("inotify", "fs.inotify.max_user_instances", used.map(|used| used.instances)),
        finding("file watches", "fs.inotify.max_user_watches", used.map(|used| used.watches)),
    ]
}
