//! What is asked to be deployed. Each wish is a row before it is answered; one slot a service takes them, the oldest first,
//! and whoever changes what of a service runs has its turn, which nobody else has at the same time.

mod backoff;
mod end;
mod locks;
mod permits;
mod slots;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

pub use backoff::Backoff;
pub use locks::Locks;
pub use permits::{BuildPermit, BuildPermits};
pub use tasks::Tasks;

use crate::events::{Event, Events};
use crate::names::{DeploymentId, ServiceName};
use crate::store::{
    Delivered, Deployment, DeploymentState, Desired, HookDelivery, NewDelivery, NewDeployment, Service, Store,
    StoreError,
};

/// How long a cancelled deployment may take to end.
const CANCEL: Duration = Duration::from_secs(30);

/// What a deployment that is queued waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// The one of its service that is under way.
    Deployment(DeploymentId),
    /// The end of another build: so many run at once.
    Builds(usize),
}

/// The queue of deployments. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    events: Events,
    slots: slots::Slots,
    turns: Locks,
    permits: BuildPermits,
    tasks: Tasks,
}

impl Queue {
    /// A queue over the store's rows, in which `parallel` builds may run at once.
    #[must_use]
    pub fn new(store: Store, events: Events, parallel: usize) -> Self {
        let (slots, turns, permits) = (slots::Slots::default(), Locks::default(), BuildPermits::new(parallel));
        Self { inner: Arc::new(Inner { store, events, slots, turns, permits, tasks: Tasks::default() }) }
    }

    /// What goes on until it is done, or until the agent stops.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    /// How many builds run at once.
    #[must_use]
    pub fn permits(&self) -> &BuildPermits {
        &self.inner.permits
    }

    /// Waits for the turn to change what of `service` runs, and holds it.
    pub async fn turn(&self, service: &ServiceName) -> OwnedMutexGuard<()> {
        self.inner.turns.hold(service).await
    }

    /// The turn, unless somebody else has it.
    #[must_use]
    pub fn try_turn(&self, service: &ServiceName) -> Option<OwnedMutexGuard<()>> {
        self.inner.turns.try_hold(service)
    }

    /// Writes down that something shall be deployed.
    ///
    /// # Errors
    /// There is no such service, or nothing can be written.
    pub async fn request(&self, new: NewDeployment) -> Result<Deployment, StoreError> {
        let (deployment, superseded) = self.inner.store.request_deployment(new).await?;
        self.announce(&deployment, superseded);
        Ok(deployment)
    }

    /// Writes down what a forge delivered, with the deployment that it asks for. One that is remembered gets what it got
    /// before, and builds nothing.
    ///
    /// # Errors
    /// There is no such service, or nothing can be written.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<HookDelivery, StoreError> {
        let Delivered { delivery, again, superseded } = self.inner.store.deliver(delivery).await?;
        if let Some(deployment) = delivery.deployment.as_ref().filter(|_| !again) {
            self.announce(deployment, superseded);
        }
        Ok(delivery)
    }

    /// Tells what was queued, and lets it begin.
    fn announce(&self, deployment: &Deployment, superseded: Vec<DeploymentId>) {
        for id in superseded {
            let said = format!("superseded by deployment {}", deployment.id);
            self.ended(id, &deployment.service, DeploymentState::Superseded, None, &said);
        }
        tracing::info!(
            deployment = %deployment.id,
            service = %deployment.service,
            cause = deployment.cause.as_str(),
            actor = deployment.actor,
            "queued"
        );
        if let Some(WaitsFor::Deployment(before)) = self.waits_for(deployment) {
            tracing::info!(
                deployment = %deployment.id,
                service = %deployment.service,
                "waits for deployment {before}, which comes first"
            );
        }
        self.tell(deployment);
        self.inner.events.publish(Event::Service(deployment.service.clone()));
        self.poke(&deployment.service);
    }

    /// What a deployment waits for that has not begun; none where nothing keeps it.
    #[must_use]
    pub fn waits_for(&self, deployment: &Deployment) -> Option<WaitsFor> {
        if deployment.state != DeploymentState::Queued {
            return None;
        }
        if let Some(parallel) = self.inner.permits.waited_for_by(deployment.id) {
            return Some(WaitsFor::Builds(parallel));
        }
        let current = self.inner.slots.current(&deployment.service);
        current.filter(|current| *current != deployment.id).map(WaitsFor::Deployment)
    }

    /// Says that the deployment took a step.
    pub fn tell(&self, deployment: &Deployment) {
        self.inner.events.publish(Event::Deployment(deployment.service.clone(), deployment.id));
    }

    /// Writes down that `service` shall not run, or shall be removed, and cancels what was being deployed.
    ///
    /// # Errors
    /// There is no such service, or nothing can be written.
    pub async fn end_service(&self, name: &ServiceName, desired: Desired) -> Result<Service, StoreError> {
        let ended = self.inner.store.end_service(name, desired).await?;
        for id in ended.waiting {
            self.ended(id, name, DeploymentState::Cancelled, None, "cancelled");
            // It may have begun to wait for its build's permit, or to make a release of an image again.
            self.inner.slots.cancel(name, id);
        }
        // What is asked for after that is somebody's who wants the service to run.
        for id in ended.begun {
            self.inner.slots.cancel_when_begun(name, id);
        }
        Ok(ended.service)
    }

    /// Cancels a deployment, and tells how it ended: one that was given the traffic in the meantime is live.
    ///
    /// # Errors
    /// There is none, it has ended already, or nothing can be written.
    pub async fn cancel(&self, id: DeploymentId) -> Result<Deployment, StoreError> {
        let deployment = self.inner.store.deployment(id).await?;
        if deployment.state.is_final() {
            return Err(StoreError::Ended(id.0));
        }
        if !self.inner.slots.cancel(&deployment.service, id) {
            if let Some(ended) = self.end_waiting(id).await? {
                return Ok(ended);
            }
            // Only the slot may end its row, since something of it may run.
            self.inner.slots.cancel_when_begun(&deployment.service, id);
        }
        let ended = self.wait(id, CANCEL).await?;
        if !ended.state.is_final() {
            self.inner.store.ready().await?;
        }
        Ok(ended)
    }

    /// Waits until the deployment has ended or `limit` is over, and tells how it stands then.
    ///
    /// # Errors
    /// There is none, or the store can't be read.
    pub async fn wait(&self, id: DeploymentId, limit: Duration) -> Result<Deployment, StoreError> {
        let mut events = self.inner.events.subscribe();
        let end = tokio::time::Instant::now() + limit;
        loop {
            let deployment = self.inner.store.deployment(id).await?;
            if deployment.state.is_final() {
                return Ok(deployment);
            }
            // A lost event costs at most a second.
            let look = end.min(tokio::time::Instant::now() + Duration::from_secs(1));
            let heard = tokio::time::timeout_at(look, async {
                loop {
                    match events.recv().await {
                        Ok(Event::Deployment(_, heard)) if heard != id => {}
                        Ok(Event::Deployment(..)) | Err(_) => break,
                        Ok(_) => {}
                    }
                }
            });
            if heard.await.is_err() && tokio::time::Instant::now() >= end {
                return self.inner.store.deployment(id).await;
            }
        }
    }

    /// Lets the service's slot look for what waits.
    pub fn poke(&self, service: &ServiceName) {
        self.inner.slots.poke(service);
    }

    /// Waits for a service whose slot has something to do and that nobody works for. It is whoever asked who works for it
    /// from then on, until [`Queue::leave`].
    pub async fn next(&self) -> ServiceName {
        self.inner.slots.next().await
    }

    /// Whether the service's slot has something to do.
    #[must_use]
    pub fn is_busy(&self, service: &ServiceName) -> bool {
        self.inner.slots.is_busy(service)
    }

    /// What cancels the deployment, which is the slot's next or is under way: one that was cancelled stays so however often
    /// it is begun.
    #[must_use]
    pub fn begin(&self, service: &ServiceName, id: DeploymentId) -> CancellationToken {
        self.inner.slots.begin(service, id)
    }

    /// Waits for `pause`, or until what the slot has begun is cancelled.
    pub async fn pause(&self, service: &ServiceName, pause: Duration) {
        self.inner.slots.pause(service, pause).await;
    }

    /// The deployment that was begun has ended.
    pub fn forget(&self, service: &ServiceName, id: DeploymentId) {
        self.inner.slots.forget(service, id);
    }

    /// Gives the slot up unless somebody asked for something in the meantime.
    #[must_use]
    pub fn leave(&self, service: &ServiceName) -> bool {
        self.inner.slots.leave(service)
    }

    /// Keeps the permits of the builds that went on while no agent was there, before anybody else can take one.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn keep_permits(&self) -> Result<(), StoreError> {
        for service in self.inner.store.services().await? {
            for deployment in self.inner.store.unfinished(&service.name).await? {
                if matches!(deployment.state, DeploymentState::Fetching | DeploymentState::Building) {
                    self.inner.permits.keep(deployment.id);
                }
            }
        }
        Ok(())
    }
}
