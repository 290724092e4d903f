//! Whether the agent has what it needs.

use super::Host;
use crate::journal::{Query, Select};
use crate::names::DeploymentId;
use crate::problem::Problem;

impl Host {
    /// Each part that the agent can't work without, by name, and what is wrong with it.
    pub async fn parts(&self) -> [(&'static str, Option<Problem>); 4] {
        let uses = &self.inner.uses;
        let journal = Query { lines: 1, ..Query::newest(Select::Build(DeploymentId(1))) };
        let (podman, systemd, journal, store) =
            tokio::join!(uses.podman.version(), uses.units.version(), uses.journal.query(journal), uses.store.ready());
        [
            ("podman", podman.err().map(|error| error.problem())),
            ("systemd", systemd.err().map(|error| error.problem())),
            ("journal", journal.err().map(|error| error.problem())),
            ("store", store.err().map(|error| error.problem())),
        ]
    }
}
