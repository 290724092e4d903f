//! A build: a transient unit of the service user's manager, so that it is limited, survives the agent, and tells its end to
//! whoever asks later. What runs in it is [`crate::sandbox`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::BuildError;
use super::choose::{By, Instructions, choose};
use super::inputs::Inputs;
use super::repository_file::{self, ReadFile, RepositoryFile};
use crate::config::LiveConfig;
use crate::names::{AbsPath, CommitId, DeploymentId, IdRange, ImageId, ReleaseName, RepoPath};
use crate::podman::{ImageFacts, Podman, PodmanError, Refusal};
use crate::sandbox::{self, Plan};
use crate::store::Settings;
use crate::units::{Argv, BuildOutcome, BuildUnit, UnitsError, UserManager, own_program};

/// The ending of the file with the image's id.
const IMAGE: &str = ".image";

/// The ending of the folder with what the build is given beside its files.
const INPUTS: &str = ".inputs";

/// A build that is to be started.
#[derive(Debug)]
pub struct Build<'a> {
    /// Its deployment.
    pub id: DeploymentId,
    /// The release that the image is for.
    pub release: &'a ReleaseName,
    /// The service's ids.
    pub ids: IdRange,
    /// The commit whose files it has.
    pub commit: &'a CommitId,
    /// What they are built by.
    pub instructions: &'a Instructions,
    /// What it is given beside them.
    pub inputs: Inputs,
}

/// Everything that builds need.
#[derive(Debug, Clone)]
pub struct Builds {
    pub(super) podman: Podman,
    pub(super) units: UserManager,
    pub(super) config: LiveConfig,
    /// This program, as it was called at the start: an update may have put another in its place.
    pub(super) program: AbsPath,
    /// Held while a build begins, and while something is removed that one might be about to use.
    gate: Arc<Mutex<()>>,
}

impl Builds {
    /// The builds of this host.
    #[must_use]
    pub fn new(podman: Podman, units: UserManager, config: LiveConfig) -> Self {
        Self { podman, units, config, program: own_program(), gate: Arc::default() }
    }

    /// As long as this is held, nothing is removed that a build which begins might use.
    pub async fn begin(&self) -> OwnedMutexGuard<()> {
        self.gate.clone().lock_owned().await
    }

    /// As long as this is held, no build runs or begins; none: one does. A build waits for whoever holds it, so that it is
    /// for one step and not for many.
    pub async fn rest(&self) -> Result<Option<OwnedMutexGuard<()>>, BuildError> {
        let gate = self.begin().await;
        Ok(self.units.builds().await?.is_empty().then_some(gate))
    }

    /// What belongs to the deployment's build, by its ending.
    pub(super) fn file(&self, id: DeploymentId, ending: &str) -> PathBuf {
        self.config.get().paths.contexts().join(format!("{id}{ending}"))
    }

    /// Makes the folder of the deployment's commit, empty.
    pub async fn make_context(&self, id: DeploymentId) -> Result<PathBuf, BuildError> {
        let context = self.file(id, "");
        let failed = |source| BuildError::Folder { what: "make the build's folder", source };
        tokio::fs::create_dir_all(&context).await.map_err(failed)?;
        Ok(context)
    }

    /// What the file of the repository says of its settings, where it has one.
    pub async fn repository_file(
        &self,
        id: DeploymentId,
        root: Option<RepoPath>,
        read: ReadFile,
    ) -> Result<Option<RepositoryFile>, BuildError> {
        let context = self.file(id, "");
        // It is never cancelled: that fails only as the whole agent ends.
        tokio::task::spawn_blocking(move || repository_file::find(&context, root.as_ref(), read))
            .await
            .unwrap_or(Ok(None))
    }

    /// What the context of `id` is built by, as these settings say.
    pub async fn instructions(&self, id: DeploymentId, settings: Settings) -> Result<Instructions, BuildError> {
        let context = self.file(id, "");
        // It is never cancelled: that fails only as the whole agent ends.
        tokio::task::spawn_blocking(move || choose(&context, &settings))
            .await
            .unwrap_or(Err(BuildError::NoRecipe(None)))
    }

    /// Starts a build, and returns once it runs.
    pub async fn start(&self, mut build: Build<'_>) -> Result<(), BuildError> {
        self.check_space()?;
        let id = build.id;
        // Without an answer the image is handed over, whether Podman has it or not.
        let known = self.podman.image_ids(&build.release.service).await.unwrap_or_default();
        let folder = self.file(id, INPUTS);
        let failed = |source| BuildError::Folder { what: "write what the build is given", source };
        // It is never cancelled: that fails only as the whole agent ends.
        let given = std::mem::take(&mut build.inputs);
        let written = tokio::task::spawn_blocking(move || given.write(&folder)).await;
        let inputs = written.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(failed)?;
        let plan = self.plan(&build, inputs, known)?;
        let file = self.file(id, ".json");
        // It is of plain texts and numbers, which are always JSON.
        let text = serde_json::to_vec(&plan).unwrap_or_default();
        tokio::fs::write(&file, text)
            .await
            .map_err(|source| BuildError::Folder { what: "write the build's plan", source })?;
        let unit = BuildUnit {
            deployment: id,
            release: build.release.clone(),
            argv: self.argv(&file)?,
            timeout: self.config.get().builds.timeout,
            memory_mib: self.config.get().builds.memory_mib,
        };
        Ok(self.units.start_build(&unit).await?)
    }

    fn plan(&self, build: &Build<'_>, inputs: sandbox::Inputs, known: Vec<ImageId>) -> Result<Plan, UnitsError> {
        let config = self.config.get();
        let path = |ending| AbsPath::try_from(self.file(build.id, ending));
        Ok(Plan {
            service: build.release.service.clone(),
            release: build.release.number,
            commit: build.commit.clone(),
            ids: build.ids,
            root: build.instructions.root.clone(),
            instructions: match &build.instructions.by {
                By::Own(file) => sandbox::Instructions::File(file.clone()),
                By::Recipe(recipe) => sandbox::Instructions::Recipe(recipe.containerfile.clone()),
            },
            port: build.instructions.port,
            inputs,
            pull: config.builds.pull,
            known,
            allow: config.builds.allow.clone(),
            floor_mib: config.builds.min_free_mib / 2,
            context: path("")?,
            given: path(INPUTS)?,
            temporary: path(".tmp")?,
            out: path(".out")?,
            image: path(IMAGE)?,
            cache: config.paths.cache().try_into()?,
            logins: config.paths.logins().try_into()?,
            helpers: config.paths.helpers.clone(),
            podman: config.paths.podman.clone(),
            buildah: config.paths.buildah.clone(),
        })
    }

    fn argv(&self, plan: &Path) -> Result<Argv, UnitsError> {
        let config = self.config.get();
        let program = self.program.to_string();
        let arguments = [
            // The unit ends when journald has read all of it.
            "until-read".to_owned(),
            config.limits.journal.as_millis().to_string(),
            "--".into(),
            config.paths.podman.to_string(),
            "unshare".into(),
            program,
            "build-unit".into(),
            plan.display().to_string(),
        ];
        Argv::new(&self.program, arguments)
    }

    /// Whether the disk is too full for a build.
    pub fn lacks_space(&self) -> Result<bool, BuildError> {
        Ok(self.free_mib()? < self.config.get().builds.min_free_mib)
    }

    fn check_space(&self) -> Result<(), BuildError> {
        let (free, needed) = (self.free_mib()?, self.config.get().builds.min_free_mib);
        if free < needed { Err(BuildError::Space { free, needed }) } else { Ok(()) }
    }

    fn free_mib(&self) -> Result<u64, BuildError> {
        let room = sandbox::room(&self.config.get().paths.state)
            .map_err(|error| BuildError::Folder { what: "measure the disk", source: std::io::Error::other(error) })?;
        Ok(room / (1024 * 1024))
    }

    /// How the build of `id` stands; none: there is no such unit.
    pub async fn outcome(&self, id: DeploymentId) -> Result<Option<BuildOutcome>, BuildError> {
        Ok(self.units.build_result(id).await?)
    }

    /// Waits for the end of the build, and tells of its image.
    pub async fn wait(&self, id: DeploymentId, release: &ReleaseName) -> Result<ImageFacts, BuildError> {
        match self.units.wait_build(id).await? {
            Some(BuildOutcome::Succeeded) => {}
            Some(BuildOutcome::Failed { status }) => return Err(BuildError::Failed(status)),
            Some(BuildOutcome::TimedOut) => {
                return Err(BuildError::TimedOut(self.config.get().builds.timeout.as_secs()));
            }
            Some(BuildOutcome::Running) | None => return Err(BuildError::Vanished),
        }
        let image = tokio::fs::read_to_string(self.file(id, IMAGE)).await;
        // One of an agent before an upgrade has named its image itself.
        if let Some(image) = image.ok().and_then(|id| id.parse::<ImageId>().ok()) {
            match self.podman.tag(image.as_str(), release).await {
                // It was there when the build began, and was removed meanwhile.
                Err(PodmanError::Refused { why: Refusal::NotFound, .. }) => return Err(BuildError::NoImage),
                named => named?,
            }
        }
        self.podman.image(&release.image()).await?.ok_or(BuildError::NoImage)
    }

    /// Copies the image into the ids of its service now, which else delays its start.
    pub async fn prepare(&self, release: &ReleaseName, ids: IdRange) -> Result<(), BuildError> {
        let (podman, release) = (self.podman.clone(), release.clone());
        // A task of its own, which ends what it began also when nobody waits for it any more.
        let shift = tokio::spawn(async move { podman.shift_image(&release, &release.image(), ids).await });
        // It is never cancelled: that fails only as the whole agent ends.
        Ok(shift.await.unwrap_or(Ok(()))?)
    }
}
