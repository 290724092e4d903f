//! What of the journal is read. Any local program may claim a tag, but not our user id (systemd.journal-fields(7)), and
//! what has that is ours alone: containers have ids of their own, and none the journal's sockets.

use std::ffi::CStr;
use std::io::Result;

use systemd::journal::Journal as Handle;

use super::join::Output;
use super::{FINAL, Select};
use crate::names::{DeploymentId, ReleaseName, ServiceName, user_manager};

/// The id of journald's message that it has dropped some: SD_MESSAGE_JOURNAL_DROPPED.
const DROPPED: &str = "a596d6fe7bfa4994828e72309e95d61e";

/// The priority of a line that tells none.
pub(super) const NO_PRIORITY: u8 = 6;
/// How the agent calls itself in the journal.
pub(super) const AGENT: &str = "podkeeper";
/// The field that tells how a deployment stands.
pub(super) const STATE: &CStr = c"PODKEEPER_STATE";

/// What is read.
#[derive(Clone)]
pub(super) enum Source {
    /// Lines: whose, and of which priority or a graver one.
    Lines(Select, Option<u8>),
    /// What Podman tells of health checks.
    Health,
}

impl Source {
    /// From now on only that is read through `handle`.
    pub(super) fn add(&self, handle: &mut Handle) -> Result<()> {
        match self {
            Self::Lines(select, priority) => lines(handle, select, *priority),
            Self::Health => health(handle),
        }
    }
}

fn health(handle: &mut Handle) -> Result<()> {
    ours(handle)?;
    handle.match_add("PODMAN_EVENT", "health_status")?;
    Ok(())
}

/// Of one output of a container, everything.
pub(super) fn output(handle: &mut Handle, (container, priority): &Output) -> Result<()> {
    ours(handle)?;
    handle.match_add("CONTAINER_ID_FULL", container.as_deref().unwrap_or_default())?;
    handle.match_add("PRIORITY", priority.to_string())?;
    Ok(())
}

/// Of `select` only what conmon marks as partial.
pub(super) fn pieces(handle: &mut Handle, select: &Select) -> Result<()> {
    match select {
        Select::Service(service, _) => containers(handle, service)?,
        Select::Release(release) | Select::Unit(release) => container(handle, release)?,
        // Of a build, and of the agent, conmon writes nothing.
        Select::Deployment(_) | Select::Build(_) | Select::Mark(_) => agents(handle)?,
    }
    handle.match_add("CONTAINER_PARTIAL_MESSAGE", "true")?;
    Ok(())
}

/// What the agent says that a deployment has ended.
pub(super) fn end(handle: &mut Handle, id: DeploymentId) -> Result<()> {
    agents(handle)?;
    handle.match_add("PODKEEPER_DEPLOYMENT", id.to_string())?;
    for state in FINAL {
        handle.match_add("PODKEEPER_STATE", state)?;
    }
    Ok(())
}

/// What our user's processes write. The kernel says whose a line is; of which unit and program journald says by looking
/// at the process, which may have ended by then, so that nothing can be read by that.
fn ours(handle: &mut Handle) -> Result<()> {
    handle.match_add("_UID", nix::unistd::getuid().to_string())?;
    Ok(())
}

/// What the agent itself says.
fn agents(handle: &mut Handle) -> Result<()> {
    ours(handle)?;
    handle.match_add("SYSLOG_IDENTIFIER", AGENT)?;
    Ok(())
}

/// What conmon reads from a service's containers. Only it writes the second tag: a service may be called as a program is.
fn containers(handle: &mut Handle, service: &ServiceName) -> Result<()> {
    ours(handle)?;
    handle.match_add("SYSLOG_IDENTIFIER", service.as_str())?;
    handle.match_add("CONTAINER_TAG", service.as_str())?;
    Ok(())
}

fn container(handle: &mut Handle, release: &ReleaseName) -> Result<()> {
    containers(handle, &release.service)?;
    handle.match_add("CONTAINER_NAME", release.container())?;
    Ok(())
}

/// What units print that are called so. Not Podman's events, which come from there, too, and not what a service writes
/// that is called like that.
fn printed(handle: &mut Handle, identifiers: impl IntoIterator<Item = String>) -> Result<()> {
    ours(handle)?;
    handle.match_add("_TRANSPORT", "stdout")?;
    for identifier in identifiers {
        handle.match_add("SYSLOG_IDENTIFIER", identifier)?;
    }
    Ok(())
}

/// Of what was added last only this priority or a graver one. What has none is of the sixth.
fn graver(handle: &mut Handle, priority: Option<u8>) -> Result<()> {
    if let Some(most) = priority.filter(|most| *most < NO_PRIORITY) {
        for priority in 0..=most {
            handle.match_add("PRIORITY", priority.to_string())?;
        }
    }
    Ok(())
}

/// The lines that are selected, of this priority or a graver one. What the agent says of a deployment is all there: it tells
/// that this has ended.
fn lines(handle: &mut Handle, select: &Select, priority: Option<u8>) -> Result<()> {
    match select {
        Select::Service(service, builds) => {
            containers(handle, service)?;
            if !builds.is_empty() {
                graver(handle, priority)?;
                handle.match_or()?;
                printed(handle, builds.iter().copied().map(DeploymentId::build))?;
            }
        }
        Select::Release(release) => container(handle, release)?,
        Select::Unit(release) => {
            container(handle, release)?;
            graver(handle, priority)?;
            handle.match_or()?;
            printed(handle, [release.instance()])?;
        }
        Select::Deployment(id) => {
            agents(handle)?;
            handle.match_add("PODKEEPER_DEPLOYMENT", id.to_string())?;
            handle.match_or()?;
            printed(handle, [id.build()])?;
        }
        Select::Build(id) => printed(handle, [id.build()])?,
        Select::Mark(mark) => {
            agents(handle)?;
            handle.match_add("PODKEEPER_MARK", mark.as_str())?;
            return Ok(());
        }
    }
    graver(handle, priority)?;
    // What journald drops it counts for all that a user's manager runs, so it may be anybody's.
    handle.match_or()?;
    handle.match_add("_TRANSPORT", "driver")?;
    handle.match_add("MESSAGE_ID", DROPPED)?;
    handle.match_add("OBJECT_SYSTEMD_UNIT", user_manager(nix::unistd::getuid()))?;
    graver(handle, priority)
}
