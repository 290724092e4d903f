//! A port for a new release: one of the range that no release has and nobody listens on.

use std::collections::HashSet;
use std::net::TcpListener;

use super::{ServiceError, Services};
use crate::units::RELEASE_ADDRESS;

impl Services {
    /// Picks a free port; none where all are taken. It begins at a random place of the range, so that a port that was just given up is seldom
    /// the next one. A route that can't be read leads to a port of a release, or of one that went meanwhile, whose port is
    /// kept: it takes no other.
    ///
    /// # Errors
    /// The store or the folder of the routes can't be read.
    pub async fn free_port(&self) -> Result<Option<u16>, ServiceError> {
        let (first, last) = (self.uses.config.get().services.first_port, self.uses.config.get().services.last_port);
        let taken = self.uses.store.taken_ports().await?;
        let routed = self.uses.routes.hosts().await?;
        // Maintenance tells of those that can't be read, until they can.
        let routed = routed.into_iter().filter_map(|(_, ports)| ports.ok()).flatten();
        let taken: HashSet<u16> = taken.into_iter().chain(routed).collect();
        let start = rand::random_range(first..=last);
        let mut free = (start..=last).chain(first..start).filter(|port| !taken.contains(port));
        Ok(free.find(|port| TcpListener::bind((RELEASE_ADDRESS, *port)).is_ok()))
    }
}
