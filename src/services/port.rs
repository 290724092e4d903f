//! A port for a new release: one of the range that no release has and nobody listens on.

use std::collections::HashSet;
use std::net::TcpListener;

use super::{ServiceError, Services};
use crate::problem::chain;
use crate::units::RELEASE_ADDRESS;

impl Services {
    /// Picks a free port; none where all are taken. It begins at a random place of the range, so that a port that was just given up is seldom
    /// the next one. A route that can't be read leads to a port of a release, or of one that went meanwhile, whose port is
    /// kept: it takes no other.
    pub async fn free_port(&self) -> Result<Option<u16>, ServiceError> {
        let (first, last) = (self.uses.config.get().services.first_port, self.uses.config.get().services.last_port);
        let taken = self.uses.store.taken_ports().await?;
        let routed = self.uses.routes.hosts().await?;
        let mut taken: HashSet<u16> = taken.into_iter().collect();
        for (host, ports) in routed {
            match ports {
                Ok(ports) => taken.extend(ports),
                Err(error) => tracing::warn!("nobody knows where {host} leads: {}", chain(&error)),
            }
        }
        let start = rand::random_range(first..=last);
        let mut free = (start..=last).chain(first..start).filter(|port| !taken.contains(port));
        Ok(free.find(|port| TcpListener::bind((RELEASE_ADDRESS, *port)).is_ok()))
    }
}
