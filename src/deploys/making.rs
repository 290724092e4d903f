//! Everything until a new release stands healthy beside the old one: its image, its row, its unit.

use secrecy::SecretString;

use super::room::make_room;
use super::{DeployError, Uses};
use crate::builds::{Build, By, Inputs, RepositoryFile};
use crate::git::GitError;
use crate::names::{BranchName, CommitId, DeploymentId, ReleaseName, RepoUri};
use crate::services::ServiceError;
use crate::store::{Cause, Deployment, DeploymentState, Release, Service, Settings, Source};
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
    /// The branch that it is made of.
    branch: BranchName,
}

impl<'a> Making<'a> {
    /// The release that the deployment makes of `service`. It gets its number in its row before anything else.
    pub(super) async fn begin(uses: &'a Uses, id: DeploymentId, service: &'a Service) -> Result<Self, DeployError> {
        let name = ReleaseName::new(&service.name, uses.store.number_release(id).await?);
        Ok(Self { uses, deployment: uses.store.deployment(id).await?, branch: service.branch.clone(), service, name })
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
            let release = self.uses.store.release(self.service.id, from).await?;
            if self.deployment.cause == Cause::Rollback {
                let commit =
                    release.commit.map_or_else(|| "of no commit".into(), |commit| format!("of commit {commit}"));
                let made = release.created.strftime("%Y-%m-%d %H:%M:%S UTC");
                tracing::info!("going back to release {from}, {commit}, made {made}, as release {}", self.name.number);
            }
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
        // A span's fields stand before the text, so that whoever has read the text has read them.
        tracing::error_span!("step", state = state.as_str()).in_scope(|| tracing::info!("{}", state.as_str()));
        self.uses.queue.tell(&self.deployment);
        Ok(())
    }

    async fn fetch(&mut self) -> Result<CommitId, DeployError> {
        self.step(DeploymentState::Fetching, None).await?;
        // What an agent that died in this step left.
        self.uses.builds.clear(self.deployment.id).await?;
        let repositories = &self.uses.repositories;
        // As it is by now: somebody may have changed it while the deployment waited.
        let (source, secret) = self.uses.services.read_source(&self.service.name).await?;
        let commit = match (&source, self.deployment.commit.clone()) {
            (Source::External { uri, .. }, commit) => {
                self.fetch_external(uri, secret.as_ref(), commit.as_ref()).await?
            }
            (_, Some(commit)) if repositories.has(&self.service.name, &commit).await => commit,
            // Nothing names it any more.
            (_, Some(commit)) if self.deployment.cause == Cause::Start => {
                return Err(GitError::NoSuchCommit(commit).into());
            }
            (Source::Template(_), _) => repositories
                .head(&self.service.name, &self.service.branch)
                .await?
                .ok_or_else(|| GitError::NoCommits(self.service.branch.to_string()))?,
        };
        self.check_watched(&commit).await?;
        let context = self.uses.builds.make_context(self.deployment.id).await?;
        let source = match &source {
            Source::External { uri, .. } => Some((uri, secret.as_ref())),
            Source::Template(_) => None,
        };
        repositories.checkout(&self.service.name, &commit, source, &context).await?;
        Ok(commit)
    }

    /// From a repository elsewhere: the newest of its branch, at least as new as what its hook has told of; or what somebody has
    /// asked for by its id.
    async fn fetch_external(
        &mut self,
        uri: &RepoUri,
        secret: Option<&SecretString>,
        commit: Option<&CommitId>,
    ) -> Result<CommitId, DeployError> {
        let (repositories, Service { id, name, .. }) = (&self.uses.repositories, self.service);
        let follows_head = self.uses.store.follows_head(*id).await?;
        let branch = (!follows_head).then_some(&self.branch);
        let fetched = match commit {
            Some(commit) if self.deployment.cause == Cause::Start => {
                repositories.fetch_commit(name, uri, branch, secret, commit).await?
            }
            Some(commit) => repositories.fetch_announced(name, uri, branch, secret, commit).await?,
            None => repositories.fetch(name, uri, branch, secret).await?,
        };
        if follows_head {
            self.uses.store.found_head(*id, &fetched.branch).await?;
        }
        self.branch = fetched.branch;
        Ok(fetched.commit)
    }

    async fn start_build(&mut self, commit: &CommitId) -> Result<(), DeployError> {
        let (id, service, builds) = (self.deployment.id, self.service, &self.uses.builds);
        let root = service.settings.root.clone();
        let file = builds.repository_file(id, root, self.uses.read_file).await?;
        self.uses.store.note_repository(id, file.as_ref().map(|file| file.settings.clone())).await?;
        let settings = service.settings.with_repository(file.as_ref().map(|file| &file.settings));
        let instructions = builds.instructions(id, settings.clone()).await?;
        let values = self.uses.services.build_values(&service.name, &settings).await?;
        let inputs = Inputs::of(&settings, values, &instructions, commit, &self.branch)?;
        self.step(DeploymentState::Building, Some(commit.clone())).await?;
        tracing::info!("release {} is built from commit {commit}", self.name.number);
        if let Some(file) = &file {
            say_what_it_sets(file, &service.settings);
        }
        if let Some(miss) = &instructions.passed_over {
            tracing::warn!("{miss}, and it is not what is built by: {}", miss.hint());
        }
        match &instructions.by {
            By::Own(file) => tracing::info!("building by the repository's {file}"),
            By::Recipe(recipe) => {
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
        let release = &self.name;
        let build = Build { id, release, ids: service.ids, commit, instructions: &instructions, inputs };
        Ok(self.uses.builds.start(build).await?)
    }
}

/// Tells which settings are the repository's, and which of its settings don't count.
fn say_what_it_sets(file: &RepositoryFile, own: &Settings) {
    let (said, set) = (file.settings.said(), own.said());
    let counts = |name: &&String| own.prefer_repository || !set.contains(*name);
    let list = |names: Vec<&String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (sets, does_not): (Vec<_>, Vec<_>) = said.iter().partition(counts);
    match sets.is_empty() {
        true => tracing::info!("{} sets nothing", file.path),
        false => tracing::info!("{} sets {}", file.path, list(sets)),
    }
    if !does_not.is_empty() {
        let does_not = list(does_not);
        tracing::info!("the service's own settings count for more than what {} says of {does_not}", file.path);
    }
}
