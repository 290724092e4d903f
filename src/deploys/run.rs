//! A deployment that is carried out: its release is made, gets the traffic, and what it takes the place of goes.

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::making::Making;
use super::room::make_room;
use super::undo::Undo;
use super::{DeployError, Uses};
use crate::names::DeploymentId;
use crate::problem::chain;
use crate::services::{ServiceError, spec};
use crate::store::{DeploymentState, Desired, Service, StoreError};

/// How often a deployment begins again because a part of the host is away.
const ATTEMPTS: u32 = 3;

/// One way through a deployment, from where its row says it is to an end that the row tells.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) uses: &'a Uses,
    pub(super) id: DeploymentId,
    /// Ends it, unless its release has the traffic by then.
    pub(super) cancel: CancellationToken,
}

impl Run<'_> {
    /// Goes the whole way. The error is a store in which its end can't be written down: all stays as it is, and is begun again
    /// from the row.
    pub(super) async fn go(&self) -> Result<(), StoreError> {
        let mut attempt = 1;
        let ended = loop {
            let result = self.prepare_and_switch().await;
            match result {
                Err(error) if error.is_absence() && attempt < ATTEMPTS && !self.cancel.is_cancelled() => {
                    attempt += 1;
                    tracing::warn!("{}; trying again", chain(&error));
                    let _ = self.cancel.run_until_cancelled(self.wait_for_host()).await;
                }
                result => break result,
            }
        };
        match ended {
            Ok(()) => Ok(()),
            Err(DeployError::Service(ServiceError::Store(error)))
                if error.is_outage() && !self.cancel.is_cancelled() =>
            {
                make_room(self.uses).await;
                Err(error)
            }
            Err(error) => Undo { uses: self.uses, id: self.id, why: error }.go().await,
        }
    }

    async fn wait_for_host(&self) {
        let waits = self.uses.config.get().waits;
        let end = Instant::now() + waits.absence;
        while Instant::now() < end {
            sleep(waits.absence_look).await;
            if self.uses.podman.version().await.is_ok() && self.uses.units.version().await.is_ok() {
                return;
            }
        }
    }

    async fn prepare_and_switch(&self) -> Result<(), DeployError> {
        let deployment = self.uses.store.deployment(self.id).await?;
        if deployment.state.is_final() {
            return Err(DeployError::Ended);
        }
        // Some of it may be gone already, and whatever is missed now is not why.
        if let Some(problem) = &deployment.problem {
            return Err(DeployError::Noted(problem.clone()));
        }
        let service = self.uses.store.service(&deployment.service).await?;
        // A switch that was begun is ended, whatever happens.
        if deployment.release.is_none() || service.current != deployment.release {
            let making = async { Making::begin(self.uses, self.id, &service).await?.make().await };
            let prepared = self.cancel.run_until_cancelled(making).await;
            let release = prepared.ok_or(DeployError::Cancelled)??;
            if self.cancel.is_cancelled() {
                return Err(DeployError::Cancelled);
            }
            self.uses.store.make_current(service.id, release.number, self.id).await?;
        }
        self.switch(&service).await
    }

    /// Gives the new release the traffic, then drains and stops the old one.
    async fn switch(&self, service: &Service) -> Result<(), DeployError> {
        // Read again: somebody may want it stopped by now.
        let service = self
            .uses
            .store
            .service(&service.name)
            .await
            .unwrap_or_else(|_| Service { desired: Desired::Stopped, ..service.clone() });
        let rest = self.uses.services.switch(&service, true).await?;
        // Read again: whether it has an address its release says.
        let url = match self.uses.store.find_service(&service.name).await {
            Ok(service) => spec::url(&service, &self.uses.config.get()),
            Err(_) => None,
        };
        let said = url.map_or_else(|| "live; it has no address".into(), |url| format!("live at {url}"));
        self.uses.queue.end(self.id, DeploymentState::Live, None, None, said).await?;
        if let Err(error) = self.uses.services.clear_up(&service, rest).await {
            // It is live. What of the clearing up is left, the next look at all services does.
            tracing::info_span!(parent: None, "clearing", service = %service.name)
                .in_scope(|| tracing::warn!("the old release is not cleared away yet: {}", chain(&error)));
        }
        Ok(())
    }
}
