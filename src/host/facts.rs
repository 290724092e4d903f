//! What can be read of the host at once.

use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::process::Command;
use tokio::time::timeout;

use super::Uses;
use crate::config::system;
use crate::text::Plain;

/// How long one part of the host may take to answer.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// Where the kernel tells how much memory there is (proc(5)).
const MEMORY: &str = "/proc/meminfo";

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Its size, in bytes.
    pub total: u64,
    /// What is free for the agent's user, in bytes.
    pub free: u64,
}

impl Disk {
    /// The one that this folder lies on.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let disk = statvfs(folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
        Some(Self { total: bytes(disk.blocks()), free: bytes(disk.blocks_available()) })
    }
}

/// The memory of the whole host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it, in bytes.
    pub total: u64,
    /// What programs can have, in bytes: caches go where it is needed.
    pub available: u64,
}

impl Memory {
    pub(super) async fn read() -> Option<Self> {
        Self::parse(&tokio::fs::read_to_string(MEMORY).await.ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Self { total: field("MemTotal")?, available: field("MemAvailable")? })
    }
}

/// The versions of what the host runs; none where it doesn't tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// Podman.
    pub podman: Option<Plain>,
    /// systemd.
    pub systemd: Option<Plain>,
    /// The kernel.
    pub kernel: Option<Plain>,
    /// git.
    pub git: Option<Plain>,
    /// The proxy.
    pub proxy: Option<Plain>,
    /// The distribution, as it calls itself (os-release(5)).
    pub os: Option<Plain>,
}

impl Versions {
    /// Whether those are known that every host has.
    pub(super) fn are_whole(&self) -> bool {
        self.podman.is_some() && self.systemd.is_some()
    }

    pub(super) async fn ask(uses: &Uses) -> Self {
        let paths = uses.config.get().paths.clone();
        let (podman, systemd, git, proxy, os) = tokio::join!(
            timeout(LIMIT, uses.podman.version()),
            timeout(LIMIT, uses.units.version()),
            said(&paths.git, "--version"),
            said(&paths.caddy, "version"),
            tokio::fs::read_to_string(system::OS_RELEASE),
        );
        let kernel = nix::sys::utsname::uname().ok();
        Self {
            podman: podman.ok().and_then(Result::ok).map(Plain::from),
            systemd: systemd.ok().and_then(Result::ok).map(Plain::from),
            kernel: kernel.and_then(|kernel| Some(kernel.release().to_str()?.into())),
            git: git.and_then(|said| number(&said)),
            proxy: proxy.and_then(|said| number(&said)).map(|number| format!("caddy {number}").into()),
            os: os.ok().and_then(|text| pretty_name(&text)),
        }
    }
}

/// What a program prints of itself.
async fn said(program: &Path, word: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg(word).stdin(std::process::Stdio::null()).env_clear().current_dir("/").kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first word that begins like a version: `git version 2.47.3` → `2.47.3`, `v2.6.2 h1:…` → `2.6.2`.
fn number(said: &str) -> Option<Plain> {
    let words = said.split_whitespace().map(|word| word.strip_prefix('v').unwrap_or(word));
    words.into_iter().find(|word| word.starts_with(|first: char| first.is_ascii_digit())).map(Plain::from)
}

/// `PRETTY_NAME` of os-release(5), without its quotes.
fn pretty_name(text: &str) -> Option<Plain> {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\'']).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_and_the_programs_say_is_read() {
        let text = "MemTotal:        2048 kB\nMemFree:          10 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(Memory::parse(text), Some(Memory { total: 2 << 20, available: 1 << 20 }));
        assert_eq!(Memory::parse("MemTotal: 1 kB\n"), None);
        assert_eq!(number("git version 2.47.3\n").unwrap(), "2.47.3");
        assert_eq!(number("v2.6.2 h1:abc=\n").unwrap(), "2.6.2");
        assert_eq!(number("unknown"), None);
        assert_eq!(
            pretty_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n").unwrap(),
            "Debian GNU/Linux 13 (trixie)"
        );
    }
}
