//! How a deployment ends: by its row, then by a line that is the last of its story. Whoever reads that waits for it.

use super::Queue;
use crate::events::Event;
use crate::names::{DeploymentId, ServiceName};
use crate::problem::Problem;
use crate::store::{Deployment, DeploymentState, StoreError};
use crate::text::PlainLines;

impl Queue {
    /// Ends a deployment: writes it down, then says so.
    ///
    /// # Errors
    /// There is none, it has ended already, or nothing can be written.
    pub async fn end(
        &self,
        id: DeploymentId,
        state: DeploymentState,
        problem: Option<Problem>,
        tail: Option<PlainLines>,
        said: String,
    ) -> Result<Deployment, StoreError> {
        let this = self.clone();
        // A task of its own, which an agent that stops waits for: only a crash comes between the two.
        let ending = self.inner.tasks.spawn_whole(async move {
            let ended = this.inner.store.finish(id, state, problem, tail).await?;
            this.ended(id, &ended.service, state, ended.problem.as_ref(), &said);
            Ok(ended)
        });
        // It is never cancelled: that fails only as the whole agent ends.
        ending.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Cancels a deployment that waits; none where it does not, or not any more.
    pub(super) async fn end_waiting(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let this = self.clone();
        let ending = self.inner.tasks.spawn_whole(async move {
            let ended = this.inner.store.cancel_waiting(id).await?;
            if let Some(ended) = &ended {
                this.ended(id, &ended.service, DeploymentState::Cancelled, None, "cancelled");
            }
            Ok(ended)
        });
        ending.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Says that a deployment has ended, whose row tells so. Nothing is logged as its own after that.
    pub(super) fn ended(
        &self,
        id: DeploymentId,
        service: &ServiceName,
        state: DeploymentState,
        problem: Option<&Problem>,
        said: &str,
    ) {
        let problem = problem.map(|problem| problem.code.as_str());
        let word = state.as_str();
        // A span's fields stand before the text, so that whoever has read the text has read them.
        let ended =
            tracing::error_span!(parent: None, "ended", deployment = %id, service = %service, state = word, problem);
        ended.in_scope(|| match state {
            DeploymentState::Failed => tracing::error!("{said}"),
            _ => tracing::info!("{said}"),
        });
        self.inner.permits.give_up(id);
        self.inner.events.publish(Event::Deployment(service.clone(), id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journals_readers_know_how_a_deployment_ends() {
        let last: Vec<_> =
            DeploymentState::ALL.iter().filter(|state| state.is_final()).map(|state| state.as_str()).collect();
        assert_eq!(last, crate::journal::FINAL);
    }
}
