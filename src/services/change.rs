//! What people want of a service: its settings, and that it stops.

use super::{ServiceError, Services, spec};
use crate::names::{Actor, BranchName, ServiceName};
use crate::problem::{Code, Problem, chain};
use crate::store::{Desired, NewBranch, Service, Settings};

impl Services {
    /// Changes a service's settings, and its branch where there is one. Nothing is waited for: a deployment that is under
    /// way ends with what it began with, and what concerns a release is the next one's.
    ///
    /// # Errors
    /// There is no such service, `change` refuses, a domain is another's or the host's, the repository can't be read,
    /// or nothing can be written.
    pub async fn change_settings(
        &self,
        name: &ServiceName,
        branch: Option<BranchName>,
        change: impl FnOnce(Settings) -> Result<Settings, Problem> + Send + 'static,
    ) -> Result<Service, ServiceError> {
        let parts = &self.uses;
        let change = self.own_domains_alone(change);
        parts.store.service(name).await?;
        let watching = self.watch_branch(name).await;
        let branch = match branch {
            // What it holds already is deployed when somebody pushes or starts, not by the change itself.
            Some(branch) => Some(NewBranch { head: parts.repositories.head(name, &branch).await?, name: branch }),
            None => None,
        };
        let service = parts.store.change_settings(name, branch, change).await??;
        // Where it can't be done now, maintenance does it.
        if service.is_hosted()
            && parts.repositories.exists(name).await
            && let Err(error) = parts.repositories.set_head(name, &service.branch).await
        {
            tracing::warn!(service = %name, "its repository's HEAD is not `{}` yet: {}", service.branch, chain(&error));
        }
        drop(watching);
        self.settle(name).await;
        Ok(service)
    }

    /// The service as it is, and as the same change would leave it. Nothing is changed.
    ///
    /// # Errors
    /// There is no such service, `change` refuses, a domain is another's or the host's, or the store can't be read.
    pub async fn plan_settings(
        &self,
        name: &ServiceName,
        branch: Option<BranchName>,
        change: impl FnOnce(Settings) -> Result<Settings, Problem> + Send + 'static,
    ) -> Result<(Service, Service), ServiceError> {
        Ok(self.uses.store.plan_settings(name, branch, self.own_domains_alone(change)).await??)
    }

    /// `change`, refused where it has a domain that this host gives.
    fn own_domains_alone<C: FnOnce(Settings) -> Result<Settings, Problem> + Send + 'static>(
        &self,
        change: C,
    ) -> impl FnOnce(Settings) -> Result<Settings, Problem> + Send + use<C> {
        let config = self.uses.config.get();
        move |settings| {
            let settings = change(settings)?;
            match settings.domains.iter().find(|domain| spec::is_given(domain, &config)) {
                None => Ok(settings),
                Some(domain) => {
                    let detail = format!("`{domain}` is an address that this host gives to a service of that name");
                    Err(Problem::new(Code::Conflict, detail).with_hint("choose a domain of your own"))
                }
            }
        }
    }

    /// Stops a service; it stays stopped, over reboots too. What was being deployed is cancelled.
    ///
    /// # Errors
    /// There is no such service, nothing can be written, or the host does not do what is wanted: it is written down all
    /// the same, and maintenance goes on.
    pub async fn stop(&self, name: &ServiceName, actor: &Actor) -> Result<Service, ServiceError> {
        self.uses.queue.end_service(name, Desired::Stopped).await?;
        tracing::info!(service = %name, actor = %actor, "stopped by request");
        let _turn = self.uses.queue.turn(name).await;
        // Read again: somebody may have started it while its turn was waited for.
        let service = self.uses.store.service(name).await?;
        self.reconcile(&service).await?;
        Ok(service)
    }
}
