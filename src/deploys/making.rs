//! Everything until a new release stands healthy beside the old one: its image, its row, its unit.

use super::room::make_room;
use super::{DeployError, Uses};
use crate::builds::Instructions;
use crate::names::{CommitId, DeploymentId, ReleaseName};
use crate::services::ServiceError;
use crate::store::{Deployment, DeploymentState, Release, Service, Source};
use crate::units::BuildOutcome;

/// A release that is being made.
#[derive(Debug)]
pub(super) struct Making<'a> {
    pub(super) uses: &'a Uses,
    /// As its row is.
    pub(super) deployment: Deployment,
    /// As it was when its turn came.
    pub(super) service: &'a Service,
    pub(super) name: ReleaseName,
}

impl<'a> Making<'a> {
    /// The release that the deployment makes of `service`. It gets its number in its row before anything else.
    pub(super) async fn begin(uses: &'a Uses, id: DeploymentId, service: &'a Service) -> Result<Self, DeployError> {
        let name = ReleaseName::new(&service.name, uses.store.number_release(id).await?);
        Ok(Self { uses, deployment: uses.store.deployment(id).await?, service, name })
    }

    /// Makes it, each step a row before it begins, and each such that it may be begun again after a crash.
    pub(super) async fn make(mut self) -> Result<Release, DeployError> {
        if matches!(
            self.deployment.state,
            DeploymentState::Queued | DeploymentState::Fetching | DeploymentState::Building
        ) {
            self.make_image().await?;
        }
        let release = self.start().await?;
        self.check(&release).await?;
        Ok(release)
    }

    async fn make_image(&mut self) -> Result<(), DeployError> {
        if let Some(from) = self.deployment.from_release {
            // What ran before this deployment may have cleared it away since it was asked for.
            self.uses.store.release(self.service.id, from).await?;
            let old = ReleaseName::new(&self.service.name, from);
            return Ok(self.uses.podman.tag(&old.image(), &self.name).await.map_err(ServiceError::from)?);
        }
        // Queued until it is its turn, so that a newer one can still take its place.
        let say = |parallel: usize| {
            tracing::info!("waits for another build to end: `builds.parallel` is {parallel}");
            self.uses.queue.tell(&self.deployment);
        };
        let _permit = self.uses.queue.permits().take(self.deployment.id, say).await;
        let resumed = match self.deployment.state {
            DeploymentState::Building => self.uses.builds.outcome(self.deployment.id).await?,
            _ => None,
        };
        if resumed.is_none() {
            let commit = self.fetch().await?;
            self.start_build(&commit).await?;
        }
        self.uses.builds.wait(self.deployment.id, &self.name).await?;
        if resumed == Some(BuildOutcome::Running) {
            tracing::info!("the build went on while the agent was away");
        }
        self.uses.builds.prepare(&self.name, self.service.ids).await?;
        Ok(())
    }

    /// Takes the next step, by its row.
    pub(super) async fn step(&mut self, state: DeploymentState, commit: Option<CommitId>) -> Result<(), DeployError> {
        self.deployment = self.uses.store.step(self.deployment.id, state, commit).await?;
        tracing::info!(state = state.as_str(), "{}", state.as_str());
        self.uses.queue.tell(&self.deployment);
        Ok(())
    }

    async fn fetch(&mut self) -> Result<CommitId, DeployError> {
        self.step(DeploymentState::Fetching, None).await?;
        // What an agent that died in this step left.
        self.uses.builds.clear(self.deployment.id).await?;
        let repositories = &self.uses.repositories;
        let commit = match (&self.service.source, &self.deployment.commit) {
            (_, Some(commit)) if repositories.has(&self.service.name, commit).await => commit.clone(),
            (Source::Template(_), _) => repositories
                .head(&self.service.name, &self.service.branch)
                .await?
                .ok_or_else(|| crate::git::GitError::NoCommits(self.service.branch.to_string()))?,
            (Source::External { uri, secret }, _) => {
                let password = match secret {
                    Some(secret) => Some(self.uses.services.read_password(secret).await?),
                    None => None,
                };
                repositories.fetch(&self.service.name, uri, &self.service.branch, password.as_ref()).await?
            }
        };
        let context = self.uses.builds.make_context(self.deployment.id).await?;
        repositories.checkout(&self.service.name, &commit, &context).await?;
        Ok(commit)
    }

    async fn start_build(&mut self, commit: &CommitId) -> Result<(), DeployError> {
        let instructions = self.uses.builds.instructions(self.deployment.id).await?;
        self.step(DeploymentState::Building, Some(commit.clone())).await?;
        tracing::info!("release {} is built from commit {commit}", self.name.number);
        match &instructions {
            Instructions::Own(file) => tracing::info!("building by the repository's {file}"),
            Instructions::Recipe(recipe) => {
                tracing::info!(
                    "no Containerfile; building by the recipe \"{}\", which you can commit as `Containerfile`:",
                    recipe.name
                );
                for line in recipe.containerfile.lines().filter(|line| !line.is_empty()) {
                    tracing::info!("  {line}");
                }
            }
        }
        let _gate = self.uses.builds.begin().await;
        make_room(self.uses).await;
        Ok(self.uses.builds.start(self.deployment.id, &self.name, self.service.ids, commit, &instructions).await?)
    }
}
