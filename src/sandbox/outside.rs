//! A build's outer half: root of the service user's own user namespace, and on the host's network.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::addresses::HostAddresses;
use super::error::{SandboxError, code, say, system};
use super::folders::Folders;
use super::hand_over;
use super::network::{self, Network};
use super::plan::Plan;
use super::room::room;
use super::talk::Talk;
use crate::config;
use crate::names::ImageId;
use crate::problem::chain;

/// How often it is looked whether this host's addresses are others, and how full its disk is.
const LOOK: Duration = Duration::from_secs(1);

/// Carries the plan in this file out, and gives its image to Podman. The answer is the status of what failed, or 0.
pub fn build(file: &Path) -> Result<u8, SandboxError> {
    let plan = Plan::read(file)?;
    // Before the network is closed to them.
    let addresses = HostAddresses::now().map_err(system("read this host's addresses"))?;
    // Before an upgrade puts another in its place.
    let program = std::env::current_exe().map_err(system("find this program"))?;
    let _folders = Folders::make(&plan)?;
    let (mut talk, theirs) = Talk::pair()?;
    let mut command = Command::new(config::system::UNSHARE);
    command.args(["--mount", "--net", "--ipc", "--uts", "--pid", "--cgroup"]);
    command
        .args(["--mount-proc", "--fork", "--kill-child", "--"])
        .arg(program)
        .arg("build-inside")
        .arg(file)
        .stdin(theirs);
    let mut inside = command.spawn().map_err(system("enter the build's namespaces"))?;
    // It holds the socket's other end.
    drop(command);
    if talk.hear()?.as_deref() != Some("apart") {
        return Err(system("make the build's namespaces")(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let namespace = network::of_process(inside.id());
    let network = Network::open(&plan, &namespace)?;
    talk.say("go")?;
    let watched = plan.clone();
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = ended.clone();
    std::thread::spawn(move || watch(&watched, &namespace, addresses, &has_ended));
    let built = talk.hear()?;
    let id: Option<ImageId> = built.as_deref().and_then(|line| line.strip_prefix("built ")?.parse().ok());
    // One that was built again from the same steps is the same image.
    let known = id.as_ref().is_some_and(|id| plan.known.contains(id));
    if id.is_some() {
        talk.say(if known { "enough" } else { "give" })?;
    }
    let status = inside.wait().map_err(system("wait for the build"))?;
    ended.store(true, Ordering::SeqCst);
    drop(network);
    match (code(status), id) {
        (0, Some(id)) => {
            if !known {
                hand_over::take(&plan, &id)?;
            }
            std::fs::write(&*plan.image, id.as_str()).map_err(system("note the image's id"))?;
            Ok(0)
        }
        (0, None) => Err(SandboxError::Image("it has no id")),
        (code, _) => Ok(code),
    }
}

/// Keeps the network closed to this host's addresses, and the disk from being filled, until the build has ended. Where it
/// can't, this whole program ends, and systemd ends what is left.
fn watch(plan: &Plan, namespace: &str, mut addresses: HostAddresses, has_ended: &AtomicBool) {
    loop {
        std::thread::sleep(LOOK);
        let looked = keep_room(plan).and_then(|()| keep_closed(plan, namespace, &mut addresses));
        // With the build went its namespace. What Podman takes over is measured before, and not cut off.
        if has_ended.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = looked {
            say(format_args!("{}; the build is ended", chain(&error)));
            std::process::exit(1);
        }
    }
}

fn keep_closed(plan: &Plan, namespace: &str, addresses: &mut HostAddresses) -> Result<(), SandboxError> {
    let now = HostAddresses::now().map_err(system("read this host's addresses"))?;
    if now != *addresses {
        network::close(plan, namespace)?;
        say("this host's addresses changed; the build's network is closed to them");
        *addresses = now;
    }
    Ok(())
}

fn keep_room(plan: &Plan) -> Result<(), SandboxError> {
    match room(&plan.cache)? < plan.floor() {
        true => Err(system("keep on building")(std::io::Error::from_raw_os_error(nix::libc::ENOSPC))),
        false => Ok(()),
    }
}
