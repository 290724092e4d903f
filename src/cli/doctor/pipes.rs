//! The kernel's room for pipes.

use super::finding::{Finding, Level, good, wrong};

/// Where the kernel says how many pages of pipes a user may have, until new ones get two each; 0 is no limit.
const PIPES: &str = "/proc/sys/fs/pipe-user-pages-soft";
/// How many of them a service's network helper may take.
const PIPES_OF_ONE: u64 = 8192;

/// How many services may run until each new pipe is a small one, which makes builds, git and terminals slow.
pub(super) fn pipes() -> Finding {
    let pages = std::fs::read_to_string(PIPES).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match pages.map(|pages| (pages, pages / PIPES_OF_ONE)) {
        Some((0, _)) => good("pipes", "no limit"),
        Some((_, services)) if services >= 100 => good("pipes", format!("enough for {services} services")),
        Some((pages, services)) => wrong(
            "pipes",
            Level::Warn,
            format!(
                "a user's {pages} pages are enough for {services} services; with more, builds, git and terminals get slow"
            ),
            "systemctl restart systemd-sysctl; where it stays so, something in /etc/sysctl.d sets fs.pipe-user-pages-soft",
        ),
        None => wrong("pipes", Level::Warn, format!("{PIPES} can't be read"), "mount -t proc proc /proc"),
    }
}
