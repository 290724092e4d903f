//! Health checks: that one was run, which its unit tells, and what it said, which stands in the journal.

use std::sync::mpsc::SyncSender;

use crate::names::ContainerId;

/// What a container's health check said; Podman writes it into the journal, where it costs no Podman to hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSaid {
    /// The container's name.
    pub container: String,
    /// Whether it passed.
    pub healthy: bool,
}

/// Whose health check may have said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// That of the container with this id: it was begun.
    Container(ContainerId),
    /// That of the container with this name: it was run.
    Named(String),
    /// Anybody's.
    Any,
}

/// Tells a reader that there is something to read.
#[derive(Debug)]
pub struct Bell(pub(super) SyncSender<Checked>);

impl Bell {
    /// Rings. What doesn't fit any more goes with what is read then.
    pub fn ring(&self, checked: Checked) {
        let _ = self.0.try_send(checked);
    }
}
