//! What of the journal is read. Only what the trusted fields say is believed: any local program may claim a tag, but not our
//! user id (systemd.journal-fields(7)).

use std::io::Result;

use systemd::journal::Journal as Handle;

use super::Select;
use super::join::Output;
use crate::names::{DeploymentId, ReleaseName};

/// The id of journald's message that it has dropped some: SD_MESSAGE_JOURNAL_DROPPED.
const DROPPED: &str = "a596d6fe7bfa4994828e72309e95d61e";

/// What is read.
#[derive(Clone)]
pub(super) enum Source {
    /// Lines.
    Lines(Select),
    /// What Podman tells of health checks.
    Health,
}

impl Source {
    /// From now on only that is read through `handle`.
    pub(super) fn add(&self, handle: &mut Handle) -> Result<()> {
        match self {
            Self::Lines(select) => lines(handle, select),
            Self::Health => health(handle),
        }
    }
}

fn health(handle: &mut Handle) -> Result<()> {
    handle.match_add("_UID", nix::unistd::getuid().to_string())?;
    handle.match_add("PODMAN_EVENT", "health_status")?;
    Ok(())
}

/// Of one output of a container, everything.
pub(super) fn output(handle: &mut Handle, (container, priority): &Output) -> Result<()> {
    conmon(handle)?;
    handle.match_add("CONTAINER_ID_FULL", container.as_deref().unwrap_or_default())?;
    handle.match_add("PRIORITY", priority.to_string())?;
    Ok(())
}

/// Of `select` only what conmon marks as partial.
pub(super) fn pieces(handle: &mut Handle, select: &Select) -> Result<()> {
    conmon(handle)?;
    handle.match_add("CONTAINER_PARTIAL_MESSAGE", "true")?;
    match select {
        Select::Service(service, _) => {
            handle.match_add("SYSLOG_IDENTIFIER", service.as_str())?;
        }
        Select::Release(release) | Select::Unit(release) => {
            handle.match_add("SYSLOG_IDENTIFIER", release.service.as_str())?;
            handle.match_add("_SYSTEMD_USER_UNIT", release.unit())?;
        }
        // Of a build conmon writes nothing.
        Select::Deployment(id) | Select::Build(id) => {
            handle.match_add("SYSLOG_IDENTIFIER", format!("build-{id}"))?;
        }
    }
    Ok(())
}

fn conmon(handle: &mut Handle) -> Result<()> {
    handle.match_add("_UID", nix::unistd::getuid().to_string())?;
    handle.match_add("_COMM", "conmon")?;
    Ok(())
}

/// The lines that are selected.
pub(super) fn lines(handle: &mut Handle, select: &Select) -> Result<()> {
    let uid = nix::unistd::getuid().to_string();
    let build = |handle: &mut Handle, id: &DeploymentId| -> Result<()> {
        handle.match_add("_UID", uid.as_str())?;
        handle.match_add("_SYSTEMD_USER_UNIT", format!("build-{id}.service"))?;
        // Not Podman's events, which come from the same unit.
        handle.match_add("SYSLOG_IDENTIFIER", format!("build-{id}"))?;
        Ok(())
    };
    let release_lines = |handle: &mut Handle, release: &ReleaseName| -> Result<()> {
        conmon(handle)?;
        handle.match_add("SYSLOG_IDENTIFIER", release.service.as_str())?;
        handle.match_add("_SYSTEMD_USER_UNIT", release.unit())?;
        Ok(())
    };
    match select {
        Select::Service(service, builds) => {
            conmon(handle)?;
            handle.match_add("SYSLOG_IDENTIFIER", service.as_str())?;
            for id in builds {
                handle.match_or()?;
                build(handle, id)?;
            }
        }
        Select::Release(release) => release_lines(handle, release)?,
        Select::Unit(release) => {
            release_lines(handle, release)?;
            handle.match_or()?;
            handle.match_add("_UID", uid.as_str())?;
            handle.match_add("_SYSTEMD_USER_UNIT", release.unit())?;
            handle.match_add("SYSLOG_IDENTIFIER", format!("{}@{}", release.service, release.number))?;
        }
        Select::Deployment(id) => {
            handle.match_add("_UID", uid.as_str())?;
            handle.match_add("SYSLOG_IDENTIFIER", "podkeeper")?;
            handle.match_add("PODKEEPER_DEPLOYMENT", id.to_string())?;
            handle.match_or()?;
            build(handle, id)?;
        }
        Select::Build(id) => build(handle, id)?,
    }
    // What journald drops it counts for all that a user's manager runs, so it may be anybody's.
    handle.match_or()?;
    handle.match_add("_TRANSPORT", "driver")?;
    handle.match_add("MESSAGE_ID", DROPPED)?;
    handle.match_add("OBJECT_SYSTEMD_UNIT", format!("user@{uid}.service"))?;
    Ok(())
}
