//! Who works for the slots that have something to do.

use std::time::Duration;

use tracing::Instrument;

use super::Deploys;
use super::maintain::Maintenance;
use super::run::Run;
use crate::names::ServiceName;
use crate::problem::chain;
use crate::queue::Backoff;
use crate::store::StoreError;

/// How long a slot waits at most for a store that can't be read or written.
const LATE: Duration = Duration::from_secs(60);

impl Deploys {
    /// Goes on with what was under way, carries out what is asked for, and looks at all of it regularly, until the agent stops.
    pub async fn run(&self) {
        let stopping = self.uses().queue.tasks().stopping();
        // What is dropped here is what a crash cuts off, and is begun again.
        let maintenance = Maintenance::new(self.uses(), &self.inner.troubles, &self.inner.reconfigured);
        let _ = stopping.run_until_cancelled(async { tokio::join!(self.serve_slots(), maintenance.go()) }).await;
    }

    async fn serve_slots(&self) {
        loop {
            let service = self.uses().queue.next().await;
            let this = self.clone();
            self.uses().queue.tasks().spawn(async move { this.serve(&service).await });
        }
    }

    /// Works for one slot until it has nothing to do.
    async fn serve(&self, service: &ServiceName) {
        let queue = &self.uses().queue;
        let mut backoff = Backoff::new(self.uses().config.get().waits.store, LATE);
        let mut is_stuck = false;
        loop {
            match self.work_once(service).await {
                Ok(true) => {}
                Ok(false) => {
                    if queue.leave(service) {
                        return;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_stuck, true) {
                        tracing::error!(service = %service, "its deployments wait for the store: {}", chain(&error));
                    }
                    queue.pause(service, backoff.next_pause()).await;
                    continue;
                }
            }
            is_stuck = false;
            backoff.reset();
        }
    }

    /// Carries out the oldest deployment that waits, to an end that its row tells; false: there is none.
    async fn work_once(&self, service: &ServiceName) -> Result<bool, StoreError> {
        let (store, queue) = (&self.uses().store, &self.uses().queue);
        let Some(deployment) = store.unfinished(service).await?.into_iter().next() else { return Ok(false) };
        let id = deployment.id;
        let cancel = queue.begin(service, id);
        let turn = queue.turn(service).await;
        let span = tracing::info_span!("deployment", deployment = %id, service = %service);
        let carried = Run { uses: self.uses(), id, cancel }.go().instrument(span).await;
        drop(turn);
        carried?;
        match store.deployment(id).await {
            Ok(row) if !row.state.is_final() => return Err(StoreError::Unfinished(id.0)),
            Ok(_) | Err(StoreError::NoDeployment(_)) => {}
            Err(error) => return Err(error),
        }
        queue.forget(service, id);
        Ok(true)
    }
}
