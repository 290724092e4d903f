//! Where a session's program runs, and how all of it ends.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::Terminals;
use super::error::TerminalError;
use super::pace::{AGAIN, Pace};
use super::pty::Program;
use super::session::Session;
use super::target::Target;
use crate::config::system;
use crate::names::{ImageRef, Network, ReleaseName, ServiceName, SessionId};
use crate::podman::ShellContainer;
use crate::problem::chain;
use crate::sandbox::HostAddresses;
use crate::units::{Argv, JobResult, Limits};

/// `podman start` takes no empty list of the keys that would detach it, and holds the first of them back until the next
/// one comes. No key makes this byte, and no character has it.
const NEVER: &[u8] = b"--detach-keys=\xff,\xff,\xff,\xff";
/// The hook of the runtime that closes the isolated shells' networks.
const HOOK: &str = "shell-net";
/// How long the end of a session's processes may take.
const END: Duration = Duration::from_secs(15);
/// How often it is looked for what may begin late.
const LOOKS: u32 = 3;
/// How often it is looked whether this host has other addresses than when a shell's network was closed.
const LOOK: Duration = Duration::from_secs(1);

fn file(what: &'static str) -> impl FnOnce(std::io::Error) -> TerminalError {
    move |source| TerminalError::File { what, source }
}

/// The part of the runtime's own file that tells which hooks have run.
#[derive(Deserialize)]
struct RuntimeSpec {
    #[serde(default)]
    hooks: Hooks,
}

#[derive(Deserialize, Default)]
struct Hooks {
    #[serde(default, rename = "createRuntime")]
    create_runtime: Vec<Hook>,
}

#[derive(Deserialize)]
struct Hook {
    path: std::path::PathBuf,
}

impl Terminals {
    /// The container in which a service's release runs, and the shell that it has.
    pub(super) async fn target_in(&self, service: &ServiceName) -> Result<Target, TerminalError> {
        let found = self.inner.store.service(service).await?;
        let release = found.current.map(|number| ReleaseName::new(service, number));
        let release = release.ok_or_else(|| TerminalError::NotRunning(service.clone()))?;
        let container = release.container();
        let running = self.inner.podman.container(&container).await?.is_some_and(|facts| facts.running);
        if !running {
            return Err(TerminalError::NotRunning(service.clone()));
        }
        for shell in ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"] {
            if self.inner.podman.has_file(&container, shell).await? {
                return Ok(Target::Service(release, shell));
            }
        }
        Err(TerminalError::NoShell(service.clone()))
    }

    /// What Podman's client takes for its own runtime folder.
    fn client_folder(&self) -> std::path::PathBuf {
        self.inner.config.get().paths.state.join("agent/podman")
    }

    /// Podman as a program on the terminal, talking to the socket: it needs no privilege then.
    fn podman<A: AsRef<OsStr>>(&self, arguments: &[A], relays: bool) -> Program {
        let config = self.inner.config.get();
        let home = config.paths.state.to_string();
        let url = format!("--url=unix://{}", config.host.podman_socket());
        let mut all: Vec<OsString> = vec!["--remote".into(), url.into()];
        all.extend(arguments.iter().map(|word| word.as_ref().to_owned()));
        Program {
            path: config.paths.podman.to_path_buf(),
            arguments: all,
            environment: vec![
                ("PATH", system::PATH.into()),
                ("HOME", home),
                // Podman makes folders there, and the service user's own is not for the agent to write.
                ("XDG_RUNTIME_DIR", self.client_folder().display().to_string()),
                ("TERM", "xterm-256color".into()),
            ],
            relays,
        }
    }

    /// Runs the session's program to its end.
    pub(super) async fn run(&self, session: &Arc<Session>, target: &Target) -> Result<i32, TerminalError> {
        self.remember(&session.id).await?;
        match target {
            Target::Service(release, shell) => {
                let mark = format!("--env={}", session.id.mark());
                let container = release.container();
                let program = [
                    "exec",
                    "--interactive",
                    "--tty",
                    "--detach-keys=",
                    "--env=TERM=xterm-256color",
                    &mark,
                    &container,
                    shell,
                ];
                session.run(&self.podman(&program, true)).await
            }
            Target::Isolated => {
                let image = self.image(session).await?;
                let addresses = addresses()?;
                self.ready_whole(session, image).await?;
                let name = session.id.container();
                let program = [
                    OsStr::new("start"),
                    OsStr::new("--attach"),
                    OsStr::new("--interactive"),
                    OsStr::from_bytes(NEVER),
                    OsStr::new(&name),
                ];
                let program = self.podman(&program, true);
                tokio::select! {
                    code = session.run(&program) => code,
                    error = self.keep_closed(&session.id, addresses) => Err(error),
                }
            }
        }
    }

    /// Closes an isolated shell's network again whenever this host has other addresses than it had, which were
    /// `addresses`. Done where that can't be done any more, so that the shell ends.
    async fn keep_closed(&self, id: &SessionId, mut addresses: HostAddresses) -> TerminalError {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = match self::addresses() {
                Ok(now) if now == addresses => continue,
                Ok(now) => now,
                Err(error) => return error,
            };
            if let Err(error) = self.close_network(id).await {
                return error;
            }
            tracing::info!(session = %id, "this host's addresses changed; the shell's network is closed to them");
            addresses = now;
        }
    }

    /// What the hook does, once more.
    async fn close_network(&self, id: &SessionId) -> Result<(), TerminalError> {
        let config = self.inner.config.get();
        let network = self.inner.podman.network(&id.container()).await?;
        let helper = config.paths.helpers.join(HOOK).display().to_string();
        let arguments = ["unshare".to_owned(), helper, network.to_string(), Network::list(&config.shell.allow)];
        let argv = Argv::new(&config.paths.podman, arguments)?;
        match self.inner.units.run_once(&id.closing_unit(), &argv, END).await? {
            JobResult::Done => Ok(()),
            _ => Err(TerminalError::Open),
        }
    }

    /// The same as `ready`, to its end even where the session is closed in the middle: what Podman makes after the end
    /// has looked for it would stay.
    async fn ready_whole(&self, session: &Arc<Session>, image: ImageRef) -> Result<(), TerminalError> {
        let making = session.making.clone().lock_owned().await;
        let (this, id) = (self.clone(), session.id.clone());
        let made = self.inner.tasks.spawn(async move {
            let _making = making;
            this.ready(&id, image).await
        });
        made.await.map_err(|_| TerminalError::Ended)?
    }

    /// Makes the isolated shell's container, up to its first program. It is not started unless its network is closed.
    async fn ready(&self, id: &SessionId, image: ImageRef) -> Result<(), TerminalError> {
        let config = self.inner.config.get();
        let name = id.container();
        let shell = ShellContainer { session: id.clone(), image, allow: config.shell.allow.clone() };
        self.inner.podman.create_shell(&shell).await?;
        self.inner.podman.init_container(&name).await?;
        let file = self.inner.podman.runtime_spec(&name).await?;
        if !has_hook(&file, &config.paths.helpers.join(HOOK)).await {
            return Err(TerminalError::Open);
        }
        let limits = Limits {
            memory_mib: config.shell.memory_mib,
            cpu_percent: config.shell.cpu_percent,
            tasks: config.shell.tasks,
        };
        Ok(self.inner.units.limit(&id.slice(), limits).await?)
    }

    /// The isolated shell's image. Where it isn't there yet it is made on the session's terminal, for all to see.
    async fn image(&self, session: &Arc<Session>) -> Result<ImageRef, TerminalError> {
        let config = self.inner.config.get();
        let recipe = config.paths.shell.join("Containerfile");
        let (image, recipe) = match &config.shell.image {
            None => {
                let text = tokio::fs::read(&recipe).await.map_err(file("read the shell image's recipe"))?;
                (ImageRef::of_recipe(&text), Some(recipe))
            }
            Some(image) => (image.clone(), None),
        };
        if self.inner.podman.image(&image).await?.is_some() {
            return Ok(image);
        }
        let first = match self.inner.building.try_lock() {
            Ok(lock) => lock,
            Err(_) => {
                session.say("another session makes the shell's image; a moment");
                self.inner.building.lock().await
            }
        };
        if self.inner.podman.image(&image).await?.is_some() {
            return Ok(image);
        }
        let code = match recipe {
            None => {
                session.say("the shell's image is fetched, this once");
                session.prepare(&self.podman(&["pull", "--", &image], false)).await?
            }
            Some(recipe) => {
                session.say("the shell's image is built, this once");
                let folder = config.paths.shell.as_str();
                let recipe = format!("--file={}", recipe.display());
                let tag = format!("--tag={image}");
                let build = ["build", "--pull=missing", &recipe, &tag, "--", folder];
                session.prepare(&self.podman(&build, false)).await?
            }
        };
        if code != 0 {
            return Err(TerminalError::Image(code));
        }
        self.forget_images(&image).await;
        drop(first);
        Ok(image)
    }

    /// Removes the images of older recipes; one that a shell still has stays.
    async fn forget_images(&self, but: &str) {
        let images = self.inner.podman.images_named(ImageRef::RECIPES).await.unwrap_or_default();
        for image in images.iter().filter(|image| *image != but) {
            if let Err(error) = self.inner.podman.remove_image(image).await {
                tracing::debug!("an older image of the shell stays: {}", chain(&error));
            }
        }
    }

    /// Ends all that belongs to the session. It is tried until it is done; what an agent that stops has not ended is left
    /// to the next one.
    pub(super) async fn end(&self, session: &Session, target: &Target) {
        let _made = session.making.lock().await;
        // First, so that it asks Podman for nothing more.
        session.kill();
        // A shell says something when it begins. One that has not may be under way, and begin behind our back.
        let may_begin = matches!(target, Target::Service(..)) && !session.has_spoken();
        let mut looks = if may_begin { LOOKS } else { 1 };
        let mut pace = Pace::default();
        let mut is_stuck = false;
        while looks > 0 {
            let ended = match target {
                Target::Isolated => self.end_isolated(&session.id).await,
                Target::Service(..) => self.reap(&session.id).await,
            };
            match ended {
                Ok(()) => {
                    looks -= 1;
                    if looks > 0 {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                Err(error) => {
                    if !is_stuck {
                        tracing::warn!(session = %session.id, "a session is not cleared away: {}", chain(&error));
                        is_stuck = true;
                    }
                    pace.wait().await;
                }
            }
        }
        if is_stuck {
            tracing::info!(session = %session.id, "the session is cleared away after all");
        }
        self.forget(&session.id).await;
    }

    /// With its container goes every process of an isolated shell.
    async fn end_isolated(&self, id: &SessionId) -> Result<(), TerminalError> {
        self.inner.podman.remove_container(&id.container()).await?;
        self.inner.units.stop(&id.slice(), END).await?;
        Ok(())
    }

    /// Kills what carries the session's mark, in a unit of its own.
    async fn reap(&self, id: &SessionId) -> Result<(), TerminalError> {
        let agent = self.inner.program.to_string();
        let arguments = ["unshare".to_owned(), agent, "reap".to_owned(), "--".to_owned(), id.to_string()];
        let argv = Argv::new(&self.inner.config.get().paths.podman, arguments)?;
        match self.inner.units.run_once(&id.reaping_unit(), &argv, END).await? {
            JobResult::Done => Ok(()),
            _ => Err(TerminalError::Left),
        }
    }

    /// Notes the session down, for an agent that comes after a crash.
    async fn remember(&self, id: &SessionId) -> Result<(), TerminalError> {
        let folder = self.inner.config.get().paths.sessions();
        tokio::fs::create_dir_all(&folder).await.map_err(file("make the sessions' folder"))?;
        tokio::fs::create_dir_all(self.client_folder()).await.map_err(file("make Podman's folder"))?;
        tokio::fs::write(folder.join(id.as_str()), b"").await.map_err(file("note a session down"))
    }

    async fn forget(&self, id: &SessionId) {
        let noted = self.inner.config.get().paths.sessions().join(id.as_str());
        if let Err(error) = tokio::fs::remove_file(&noted).await {
            tracing::debug!("a session was not noted down: {error}");
        }
    }

    /// The sessions that the agent before left: those that it noted down, and those whose containers are there. After
    /// the power was cut a note may be missing.
    pub async fn left(&self) -> Result<BTreeSet<SessionId>, TerminalError> {
        // Those of ours are in the table from before there is anything of them until nothing is.
        let ours: BTreeSet<SessionId> = self.table().keys().cloned().collect();
        let mut left = noted(&self.inner.config.get().paths.sessions()).await?;
        left.extend(self.inner.podman.containers(SessionId::of_container).await?);
        left.retain(|id| !ours.contains(id) && !self.table().contains_key(id));
        Ok(left)
    }

    /// Clears away what the agent before left of one session, wherever that was.
    pub async fn clear(&self, id: &SessionId) -> Result<(), TerminalError> {
        let (isolated, inside) = tokio::join!(self.end_isolated(id), self.reap(id));
        isolated.and(inside)?;
        self.forget(id).await;
        Ok(())
    }
}

fn addresses() -> Result<HostAddresses, TerminalError> {
    HostAddresses::now().map_err(file("read this host's addresses"))
}

/// Whether the runtime ran `hook` when it made the container that `file` describes.
async fn has_hook(file: &Path, hook: &Path) -> bool {
    let Ok(text) = tokio::fs::read(file).await else { return false };
    serde_json::from_slice::<RuntimeSpec>(&text)
        .is_ok_and(|spec| spec.hooks.create_runtime.iter().any(|ran| ran.path == hook))
}

/// The sessions that were noted down.
async fn noted(folder: &Path) -> Result<BTreeSet<SessionId>, TerminalError> {
    let mut noted = BTreeSet::new();
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(noted),
        Err(error) => return Err(file("read the sessions' folder")(error)),
    };
    while let Some(entry) = entries.next_entry().await.map_err(file("read the sessions' folder"))? {
        noted.extend(entry.file_name().to_str().and_then(|name| name.parse::<SessionId>().ok()));
    }
    Ok(noted)
}
