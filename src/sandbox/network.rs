//! A build's network: the internet, and nothing of this host, of its neighbours and of what a cloud tells its machines.
//!
//! It is open where `pasta` carries it, as it does for rootless Podman's containers (pasta(1)), and closed by the rules that
//! isolated shells have, too. Both are others' than the build's: it has no privilege over its own network.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::{SandboxError, output, system};
use super::plan::Plan;
use crate::config;
use crate::names::Network as Allowed;

/// The resolver that pasta answers for, by this host's own. The rules know it.
pub(super) const RESOLVER: &str = "169.254.1.1";
/// What closes a network.
const HELPER: &str = "shell-net";

/// The network of a build while this lives.
pub(super) struct Network {
    pasta: Pid,
}

/// The network namespace of a process.
pub(super) fn of_process(process: u32) -> String {
    format!("/proc/{process}/ns/net")
}

/// Lets the network reach the internet alone, and what is allowed beside it. Done once more, it is closed to the addresses
/// that this host has by then.
pub(super) fn close(plan: &Plan, namespace: &str) -> Result<(), SandboxError> {
    output(&mut closing(plan, namespace), "close the build's network").map(drop)
}

fn closing(plan: &Plan, namespace: &str) -> Command {
    let mut command = Command::new(plan.helpers.join(HELPER));
    command.arg(namespace).arg(Allowed::list(&plan.allow));
    command
}

impl Network {
    /// Closes the network at `namespace`, then carries it.
    pub(super) fn open(plan: &Plan, namespace: &str) -> Result<Self, SandboxError> {
        close(plan, namespace)?;
        // Debian's profile of AppArmor lets it write there.
        let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let folder = folder.ok_or_else(|| system("find the runtime folder")(ErrorKind::NotFound.into()))?;
        // Where this is killed before it is removed, the service's next build takes it.
        let file = folder.join(plan.service.network_file());
        let mut pasta = Command::new(config::system::PASTA);
        pasta.args(["--quiet", "--config-net", "--no-map-gw", "--map-guest-addr", "none"]);
        // No port of this host leads in, and none of the build's leads to it.
        pasta.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
        pasta.args(["--dns-forward", RESOLVER]).arg("--netns").arg(namespace).arg("--pid").arg(&file);
        // It goes on in the background once all is set up, also where this host has no way to the internet at the moment.
        let opened = output(pasta.stdout(Stdio::null()), "open the build's network");
        let id = std::fs::read_to_string(&file);
        let _ = std::fs::remove_file(&file);
        opened?;
        let id = id.and_then(|id| id.trim().parse().map_err(|_| ErrorKind::InvalidData.into()));
        Ok(Self { pasta: Pid::from_raw(id.map_err(system("read pasta's number"))?) })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = kill(self.pasta, Signal::SIGKILL);
    }
}
