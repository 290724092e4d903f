//! A deployment, step by step: each is a row before it begins, and each may be begun again after a crash.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::health::{self, Expect};
use super::{DeployError, Deploys};
use crate::builds::Instructions;
use crate::names::{CommitId, DeploymentId, ReleaseName, Volumes};
use crate::podman::{Health, ImageFacts};
use crate::problem::chain;
use crate::services::{ServiceError, spec};
use crate::store::{Deployment, Desired, NewRelease, Release, Service, Settings, Source, State, StoreError};
use crate::units::{BuildOutcome, JobResult, LoadState, ServiceResult};

/// How long a part of the host that is away is waited for, and how often a deployment begins again because of it.
const ABSENCE: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 3;
/// How long a unit may take to start beyond its own time limit.
const START_MARGIN: Duration = Duration::from_secs(30);
/// How long to wait until a new release's own health check is run again, until it passes.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether its container runs, so that a program that is ready at once is found so at once.
const LOOK: Duration = Duration::from_millis(50);
/// How long a run of it is waited for. Its unit ends it before that.
const CHECK_LIMIT: Duration = Duration::from_secs(600);
/// The shortest interval between two runs of a live release's check: each is a process of Podman's.
const LEAST_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time that a run may take, and the shortest that Podman can be given.
const LONGEST_CHECK: Duration = Duration::from_secs(300);
const SHORTEST_CHECK: Duration = Duration::from_secs(1);
/// A program that ended so often before it was healthy won't become it.
const CRASHES: u32 = 3;

impl Deploys {
    /// Carries a deployment out, from where its row says it is. The error is a store in which that can't be written down: all
    /// stays as it is, and is begun again from the row.
    pub(super) async fn carry_out(&self, deployment: Deployment, cancel: CancellationToken) -> Result<(), StoreError> {
        let span = tracing::info_span!("deployment", deployment = %deployment.id, service = %deployment.service);
        async {
            let mut attempt = 1;
            let ended = loop {
                let result = self.prepare_and_switch(deployment.id, &cancel).await;
                match result {
                    Err(error) if error.is_absence() && attempt < ATTEMPTS && !cancel.is_cancelled() => {
                        attempt += 1;
                        tracing::warn!("{}; trying again", chain(&error));
                        let _ = cancel.run_until_cancelled(self.wait_for_host()).await;
                    }
                    result => break result,
                }
            };
            match ended {
                Ok(()) => Ok(()),
                Err(DeployError::Service(ServiceError::Store(error)))
                    if error.is_outage() && !cancel.is_cancelled() =>
                {
                    self.make_room().await;
                    Err(error)
                }
                Err(error) => self.undo(deployment.id, error).await,
            }
        }
        .instrument(span)
        .await
    }

    async fn wait_for_host(&self) {
        let end = Instant::now() + ABSENCE;
        while Instant::now() < end {
            sleep(Duration::from_secs(1)).await;
            if self.uses().podman.version().await.is_ok() && self.uses().units.version().await.is_ok() {
                return;
            }
        }
    }

    async fn prepare_and_switch(&self, id: DeploymentId, cancel: &CancellationToken) -> Result<(), DeployError> {
        let deployment = self.uses().store.deployment(id).await?;
        if deployment.state.is_final() {
            return Err(DeployError::Ended);
        }
        // Some of it may be gone already, and whatever is missed now is not why.
        if let Some(problem) = &deployment.problem {
            return Err(DeployError::Noted(problem.clone()));
        }
        let service = self.uses().store.service(&deployment.service).await?;
        // A switch that was begun is ended, whatever happens.
        if deployment.release.is_none() || service.current != deployment.release {
            let prepared = cancel.run_until_cancelled(self.prepare(deployment, &service)).await;
            let release = prepared.ok_or(DeployError::Cancelled)??;
            if cancel.is_cancelled() {
                return Err(DeployError::Cancelled);
            }
            self.uses().store.make_current(service.id, release.number, id).await?;
        }
        self.switch(id, &service).await
    }

    /// Gives the new release the traffic, then drains and stops the old one.
    async fn switch(&self, id: DeploymentId, service: &Service) -> Result<(), DeployError> {
        // Read again: somebody may want it stopped by now.
        let service = self
            .uses()
            .store
            .service(&service.name)
            .await
            .unwrap_or_else(|_| Service { desired: Desired::Stopped, ..service.clone() });
        let rest = self.uses().services.switch(&service, true).await?;
        let said = format!("live at {}", spec::url(&service.name, &self.uses().config.get()));
        self.uses().queue.end(id, State::Live, None, None, said).await?;
        if let Err(error) = self.uses().services.clear_up(&service, rest).await {
            // It is live. What of the clearing up is left, the next look at all services does.
            tracing::info_span!(parent: None, "clearing", service = %service.name)
                .in_scope(|| tracing::warn!("the old release is not cleared away yet: {}", chain(&error)));
        }
        Ok(())
    }

    /// Everything until the new release stands healthy beside the old one.
    async fn prepare(&self, mut deployment: Deployment, service: &Service) -> Result<Release, DeployError> {
        let number = self.uses().store.number_release(deployment.id).await?;
        deployment = self.uses().store.deployment(deployment.id).await?;
        let name = ReleaseName::new(&service.name, number);
        if matches!(deployment.state, State::Queued | State::Fetching | State::Building) {
            self.make_image(&mut deployment, service, &name).await?;
        }
        let release = self.start(&deployment, service, &name).await?;
        self.check(&deployment, service, &release, &name).await?;
        Ok(release)
    }

    async fn make_image(
        &self,
        deployment: &mut Deployment,
        service: &Service,
        name: &ReleaseName,
    ) -> Result<(), DeployError> {
        if let Some(from) = deployment.from_release {
            // What ran before this deployment may have cleared it away since it was asked for.
            self.uses().store.release(service.id, from).await?;
            let old = ReleaseName::new(&service.name, from);
            return Ok(self.uses().podman.tag(&old.image(), name).await.map_err(ServiceError::from)?);
        }
        // Queued until it is its turn, so that a newer one can still take its place.
        let _place = self.uses().queue.places().take(deployment.id).await;
        let resumed = match deployment.state {
            State::Building => self.uses().builds.outcome(deployment.id).await?,
            _ => None,
        };
        if resumed.is_none() {
            let commit = self.fetch(deployment, service).await?;
            self.start_build(deployment, service, name, &commit).await?;
        }
        self.uses().builds.wait(deployment.id, name).await?;
        if resumed == Some(BuildOutcome::Running) {
            tracing::info!("the build went on while the agent was away");
        }
        self.uses().builds.prepare(name, service.ids).await?;
        Ok(())
    }

    async fn step(&self, id: DeploymentId, state: State, commit: Option<CommitId>) -> Result<Deployment, DeployError> {
        let deployment = self.uses().store.step(id, state, commit).await?;
        tracing::info!(state = state.as_str(), "{}", state.as_str());
        self.uses().queue.tell(&deployment);
        Ok(deployment)
    }

    async fn fetch(&self, deployment: &mut Deployment, service: &Service) -> Result<CommitId, DeployError> {
        *deployment = self.step(deployment.id, State::Fetching, None).await?;
        // What an agent that died in this step left.
        self.uses().builds.clear(deployment.id).await?;
        let repositories = &self.uses().repositories;
        let commit = match (&service.source, &deployment.commit) {
            (_, Some(commit)) if repositories.has(&service.name, commit).await => commit.clone(),
            (Source::Template(_), _) => repositories
                .head(&service.name, &service.branch)
                .await?
                .ok_or_else(|| crate::git::GitError::NoCommits(service.branch.to_string()))?,
            (Source::External { uri, secret }, _) => {
                let password = match secret {
                    Some(secret) => Some(self.uses().services.read_password(secret).await?),
                    None => None,
                };
                repositories.fetch(&service.name, uri, &service.branch, password.as_ref()).await?
            }
        };
        let context = self.uses().builds.make_context(deployment.id).await?;
        repositories.checkout(&service.name, &commit, &context).await?;
        Ok(commit)
    }

    async fn start_build(
        &self,
        deployment: &mut Deployment,
        service: &Service,
        name: &ReleaseName,
        commit: &CommitId,
    ) -> Result<(), DeployError> {
        let instructions = self.uses().builds.instructions(deployment.id).await?;
        *deployment = self.step(deployment.id, State::Building, Some(commit.clone())).await?;
        tracing::info!("release {} is built from commit {commit}", name.number);
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
        let _gate = self.uses().builds.begin().await;
        self.make_room().await;
        Ok(self.uses().builds.start(deployment.id, name, service.ids, commit, &instructions).await?)
    }

    async fn start(
        &self,
        deployment: &Deployment,
        service: &Service,
        name: &ReleaseName,
    ) -> Result<Release, DeployError> {
        if deployment.state != State::Checking {
            self.step(deployment.id, State::Starting, None).await?;
        }
        self.uses().builds.clear(deployment.id).await?;
        let release = match self.uses().store.release(service.id, name.number).await {
            Ok(release) => release,
            Err(crate::store::StoreError::NoRelease(_)) => self.write_down(deployment, service, name).await?,
            Err(error) => return Err(error.into()),
        };
        self.uses().services.write_release(service, name.number).await?;
        let units = &self.uses().units;
        units.reload().await.map_err(ServiceError::from)?;
        let unit = name.unit();
        if units.unit(&unit).await.map_err(ServiceError::from)?.is_some_and(|facts| facts.load == LoadState::NotFound) {
            return Err(DeployError::Start("systemd's generator refused the release's file".into()));
        }
        let limit = spec::health_timeout(&release, &self.uses().config.get()) + START_MARGIN;
        let result = tokio::select! {
            result = units.start(&unit, limit) => result.map_err(ServiceError::from)?,
            never = self.keep_checking(name), if release.healthcheck => match never {},
        };
        if result != JobResult::Done {
            return Err(self.why_not_started(&unit, &release).await);
        }
        Ok(release)
    }

    /// Runs the release's health check, by the unit that does so when it is live, until systemd takes it for started: the
    /// image's own interval is made for the years after that, and thirty seconds long where it says nothing.
    async fn keep_checking(&self, name: &ReleaseName) -> std::convert::Infallible {
        loop {
            // Its container may not be there yet, or not any more; the release's unit tells.
            while !self.is_running(name).await {
                sleep(LOOK).await;
            }
            if let Err(error) = self.uses().units.start(&name.check_service(), CHECK_LIMIT).await {
                tracing::debug!("{}", chain(&error));
            }
            sleep(CHECK_EVERY).await;
        }
    }

    async fn is_running(&self, name: &ReleaseName) -> bool {
        let container = self.uses().podman.container(&name.container()).await;
        container.is_ok_and(|container| container.is_some_and(|container| container.running))
    }

    async fn why_not_started(&self, unit: &str, release: &Release) -> DeployError {
        let facts = self.uses().units.unit(unit).await.ok().flatten().unwrap_or_default();
        if facts.result == ServiceResult::Timeout || (release.healthcheck && facts.exit_status == 0) {
            let seconds = spec::health_timeout(release, &self.uses().config.get()).as_secs();
            return DeployError::Unhealthy(format!("its health check did not pass within {seconds} s"));
        }
        DeployError::Start(format!("the program ended with status {} before it was ready", facts.exit_status))
    }

    /// The release's row: what its image asks for, what the service is set to, and a port of its own.
    async fn write_down(
        &self,
        deployment: &Deployment,
        service: &Service,
        name: &ReleaseName,
    ) -> Result<Release, DeployError> {
        let store = &self.uses().store;
        let image = self.uses().podman.image(&name.image()).await.map_err(ServiceError::from)?;
        let image = image.ok_or(crate::builds::BuildError::NoImage)?;
        let from = match deployment.from_release {
            Some(from) => Some(store.release(service.id, from).await?),
            None => None,
        };
        let goes_back = deployment.cause == crate::store::Cause::Rollback;
        let (env, mut settings) = match &from {
            Some(from) if goes_back => (from.env.clone(), from.settings.clone()),
            _ => (store.env(&service.name).await?, service.settings.clone()),
        };
        // A release's file can be written again to the letter, whatever the configuration says by then.
        settings.health_timeout.get_or_insert_with(|| {
            u32::try_from(self.uses().config.get().services.health_timeout.as_secs()).unwrap_or(u32::MAX)
        });
        let volumes = match &from {
            // Its volumes, whatever the service's are called by now.
            Some(from) if goes_back => from.volumes.clone(),
            _ => self.volumes(service, &image, &settings).await?,
        };
        let commit = from.map_or(deployment.commit.clone(), |from| from.commit);
        let container_port =
            settings.container_port.or_else(|| image.ports.first().copied()).unwrap_or(spec::DEFAULT_PORT);
        let health_interval = match image.health_interval {
            Some(asked) if asked < LEAST_INTERVAL => {
                let least = LEAST_INTERVAL.as_secs();
                tracing::info!(
                    "the image's health check asks to be run each {asked:?}; once live, it is run each {least} s"
                );
                LEAST_INTERVAL
            }
            asked => asked.unwrap_or(spec::CHECK_INTERVAL),
        };
        let check_timeout = match image.health_timeout {
            Some(asked) if asked > LONGEST_CHECK => {
                let longest = LONGEST_CHECK.as_secs();
                tracing::info!("the image's health check asks for {asked:?} a run; it is ended after {longest} s");
                LONGEST_CHECK
            }
            asked => asked.unwrap_or(spec::CHECK_TIMEOUT).max(SHORTEST_CHECK),
        };
        let seconds = |time: Duration| image.has_healthcheck.then(|| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        // Somebody else may take the port between the look and the row.
        for _ in 0..20 {
            let Some(port) = self.uses().services.free_port().await? else { break };
            let release = NewRelease {
                number: name.number,
                deployment: deployment.id,
                commit: commit.clone(),
                port,
                container_port,
                healthcheck: image.has_healthcheck,
                health_interval: seconds(health_interval),
                check_timeout: seconds(check_timeout),
                env: env.clone(),
                volumes: volumes.clone(),
                settings: settings.clone(),
                created: Timestamp::now(),
            };
            if store.create_release(service.id, release.clone()).await? {
                return Ok(release);
            }
        }
        let services = self.uses().config.get().services.clone();
        Err(DeployError::NoPort { first: services.first_port, last: services.last_port })
    }

    /// A new release's volumes: those that are set, and one for each path that the image declares and nobody named, so that
    /// its content outlives the container: Quadlet removes anonymous volumes when a unit stops.
    async fn volumes(
        &self,
        service: &Service,
        image: &ImageFacts,
        settings: &Settings,
    ) -> Result<Volumes, DeployError> {
        let mut releases = self.uses().store.releases(service.id).await?;
        // The one with the traffic first, then the newest.
        releases.sort_by_key(|release| (Some(release.number) != service.current, std::cmp::Reverse(release.number)));
        let mut before = Volumes::default();
        releases.iter().for_each(|release| before.add_free(&release.volumes));
        let mut volumes = settings.volumes.clone();
        let declared = image.volumes.clone()?;
        volumes.complete(&declared, &before)?;
        for path in declared.iter().filter(|path| settings.volumes.at(path).is_none()) {
            if let Some(name) = volumes.at(path) {
                tracing::info!("the image declares the volume {path}; it is kept as `{name}`");
            }
        }
        Ok(volumes)
    }

    /// Waits until the release is healthy.
    async fn check(
        &self,
        deployment: &Deployment,
        service: &Service,
        release: &Release,
        name: &ReleaseName,
    ) -> Result<(), DeployError> {
        if deployment.state != State::Checking {
            self.step(deployment.id, State::Checking, None).await?;
        }
        let limit = spec::health_timeout(release, &self.uses().config.get());
        let host = spec::hosts(service, &self.uses().config.get()).first().map(ToString::to_string).unwrap_or_default();
        let expect = match &release.settings.health_path {
            Some(path) => Some(Expect::Path(path.as_str())),
            None if release.settings.tcp => Some(Expect::Tcp),
            // The image's own check has passed, or its unit would not have started.
            None if release.healthcheck => None,
            None => Some(Expect::Http),
        };
        if let Some(expect) = expect {
            let unit = name.unit();
            // The unit forgets it when it starts again.
            let mut status = 0;
            let why = tokio::select! {
                answered = health::wait(release.port, &host, expect, limit) => answered.err(),
                () = self.crashes(&unit, CRASHES, &mut status) => Some(String::new()),
            };
            if let Some(why) = why {
                let facts = self.uses().units.unit(&unit).await.ok().flatten().unwrap_or_default();
                return Err(if facts.restarts > 0 {
                    DeployError::Start(format!("the program ends again and again, the last time with status {status}"))
                } else {
                    let (port, seconds) = (release.container_port, limit.as_secs());
                    DeployError::Unhealthy(format!("on port {port} of the container: {why}, for {seconds} s"))
                });
            }
        }
        if release.healthcheck {
            let container = self.uses().podman.container(&name.container()).await.map_err(ServiceError::from)?;
            if container.and_then(|container| container.health) == Some(Health::Unhealthy) {
                return Err(DeployError::Unhealthy("its health check does not pass".into()));
            }
        }
        Ok(())
    }

    /// Returns when the unit has ended by itself `times` times; `status` is what it last ended with.
    async fn crashes(&self, unit: &str, times: u32, status: &mut i32) {
        loop {
            sleep(Duration::from_millis(500)).await;
            let Ok(Some(facts)) = self.uses().units.unit(unit).await else { continue };
            if facts.exit_status != 0 {
                *status = facts.exit_status;
            }
            if facts.restarts >= times {
                return;
            }
        }
    }
}
