//! The host, and the agent on it, which can be killed and started anew.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use podkeeper::agent::{Agent, Parts};
use podkeeper::config::{Config, LiveConfig, Waits};
use podkeeper::deploys::Pushed;
use podkeeper::http::Listeners;
use podkeeper::names::{AbsPath, Actor, CommitId, ServiceName};
use podkeeper::services::{NewSource, ServiceError};
use podkeeper::store::{Deployment, DeploymentState, Service, Settings};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::calls::Calls;
use super::manager::Manager;
use super::podman::FakePodman;
use super::systemd::FakeSystemd;
use super::world::World;
use crate::support::PATIENCE;

/// A host with a Podman and a systemd of its own.
pub struct TestHost {
    pub calls: Calls,
    pub podman: FakePodman,
    pub systemd: FakeSystemd,
    pub folder: tempfile::TempDir,
    pub config: Config,
    world: Arc<Mutex<World>>,
    agent: Option<Running>,
}

/// An agent that runs, on threads of its own: what is dropped with them is what a kill ends.
struct Running {
    runtime: Runtime,
    parts: Parts,
    address: std::net::SocketAddr,
}

/// Looks again and again whether `what` is so, until it is.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "it never is so: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Each host of this process has ports of its own, and hosts of others seldom the same.
fn ports() -> (u16, u16) {
    const EACH: u16 = 60;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let places = 20_000 / EACH;
    let first = u16::try_from(std::process::id() * 37 % u32::from(places)).unwrap();
    let place = (first + NEXT.fetch_add(1, Ordering::SeqCst)) % places;
    (10_000 + place * EACH, 10_000 + place * EACH + EACH - 1)
}

/// A folder that is in memory where the host has one: nothing here is about the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl TestHost {
    /// A host on which an agent runs.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut this = Self::without_agent(change);
        this.start_agent().await;
        this
    }

    /// A host on which none runs yet.
    pub fn without_agent(change: impl FnOnce(&mut Config)) -> Self {
        let folder = folder();
        let at = |name: &str| AbsPath::try_from(folder.path().join(name)).unwrap();
        let mut config = Config::default();
        config.paths.journal = Some(at("journal"));
        config.paths.state = at("state");
        config.paths.quadlets = at("quadlets");
        config.paths.routes = at("routes");
        config.paths.templates = concat!(env!("CARGO_MANIFEST_DIR"), "/config/templates").parse().unwrap();
        config.host.podman_socket = Some(at("podman.sock"));
        config.host.bus_socket = Some(at("bus"));
        config.builds.min_free_mib = 0;
        (config.services.first_port, config.services.last_port) = ports();
        config.services.settle = Duration::from_millis(1);
        config.services.drain = Duration::from_millis(1);
        config.services.maintenance = Duration::from_millis(500);
        config.services.health_timeout = Duration::from_secs(30);
        config.limits.journal = Duration::from_millis(1);
        let soon = Duration::from_millis(10);
        let waits = &mut config.waits;
        let Waits { store, absence_look, cleanup, bus, build, check, refusals, .. } = waits;
        for wait in [store, absence_look, cleanup, bus, build, check, refusals] {
            *wait = soon;
        }
        waits.crash = Duration::from_millis(5);
        waits.goes_on = Duration::from_millis(100);
        change(&mut config);
        std::fs::create_dir_all(folder.path().join("journal")).unwrap();
        std::fs::create_dir_all(folder.path().join("routes")).unwrap();
        let world = Arc::new(Mutex::new(World { storage: folder.path().join("storage"), ..World::default() }));
        let calls = Calls::default();
        let podman = FakePodman::start(Path::new(config.host.podman_socket().as_str()), world.clone(), calls.clone());
        let systemd = FakeSystemd::start(
            Path::new(config.host.bus_socket().as_str()),
            Path::new(config.paths.quadlets.as_str()),
            &config.paths.user_units(),
            world.clone(),
            calls.clone(),
        );
        Self { calls, podman, systemd, folder, config, world, agent: None }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn manager(&self) -> &Manager {
        self.systemd.manager()
    }

    /// Starts the agent, on whatever the one before has left.
    pub async fn start_agent(&mut self) {
        assert!(self.agent.is_none());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = self.config.clone();
        let local = self.folder.path().join("agent.sock");
        let _ = std::fs::remove_file(&local);
        let starting = runtime.spawn(async move {
            let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = web.local_addr().unwrap();
            let listeners = Listeners { web: vec![web], local: vec![UnixListener::bind(local).unwrap()] };
            let parts = Parts::build(LiveConfig::new(config)).unwrap();
            // It goes on by its tasks, until their runtime ends.
            drop(Agent::start(parts.clone(), listeners).await);
            (parts, address)
        });
        let (parts, address) = starting.await.unwrap();
        self.agent = Some(Running { runtime, parts, address });
    }

    /// Ends the agent in the middle of whatever it does.
    pub async fn kill(&mut self) {
        let agent = self.agent.take().expect("an agent runs");
        drop(agent.parts);
        let ending = tokio::task::spawn_blocking(move || agent.runtime.shutdown_timeout(PATIENCE));
        ending.await.unwrap();
        // The kernel closes what a process had open.
        self.podman.go();
        self.podman.come_back();
        self.systemd.go();
        self.systemd.come_back();
    }

    pub fn parts(&self) -> &Parts {
        &self.agent.as_ref().expect("an agent runs").parts
    }

    /// Where it answers.
    pub fn address(&self) -> std::net::SocketAddr {
        self.agent.as_ref().expect("an agent runs").address
    }

    /// Has the agent do something; its answer comes to nobody where it is killed before.
    pub fn begin<T: Send + 'static, F>(&self, work: impl FnOnce(Parts) -> F) -> tokio::task::JoinHandle<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let agent = self.agent.as_ref().expect("an agent runs");
        agent.runtime.spawn(work(agent.parts.clone()))
    }

    /// Has the agent do something, and waits for its answer.
    pub async fn ask<T: Send + 'static, F>(&self, work: impl FnOnce(Parts) -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.begin(work).await.unwrap()
    }

    /// Makes a service with an empty repository.
    pub async fn create(&self, name: &str) -> ServiceName {
        let name = name.parse().unwrap();
        self.try_create(&name).await.unwrap();
        name
    }

    pub async fn try_create(&self, name: &ServiceName) -> Result<Service, ServiceError> {
        let (name, template) = (name.clone(), NewSource::Template("empty".parse().unwrap()));
        self.ask(|parts| async move { parts.services.create(&name, template, None).await }).await
    }

    pub fn repository(&self, service: &ServiceName) -> PathBuf {
        self.config.paths.repositories().join(format!("{service}.git"))
    }

    /// Moves the service's branch to a new commit with this Containerfile, as git does before its hook.
    pub fn commit(&self, service: &ServiceName, containerfile: &str) -> CommitId {
        self.commit_files(service, &[("Containerfile", containerfile)])
    }

    /// The same with these files in the place of what they were.
    pub fn commit_files(&self, service: &ServiceName, files: &[(&str, &str)]) -> CommitId {
        self.commit_of(service, files, "x")
    }

    /// The same with this message.
    pub fn commit_message(&self, service: &ServiceName, containerfile: &str, message: &str) -> CommitId {
        self.commit_of(service, &[("Containerfile", containerfile)], message)
    }

    fn commit_of(&self, service: &ServiceName, files: &[(&str, &str)], message: &str) -> CommitId {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let (folder, head) = (self.repository(service), self.repository(service).join("refs/heads/main"));
        let before = if head.exists() { "from refs/heads/main^0\n" } else { "" };
        let mut import = format!(
            "commit refs/heads/main\ncommitter A <a@example.org> {number} +0000\ndata {}\n{message}\n{before}",
            message.len()
        );
        for (path, text) in files {
            import.push_str(&format!("M 644 inline {path}\ndata {}\n{text}\n", text.len()));
        }
        let mut git = Command::new("git");
        git.args(["fast-import", "--quiet", "--force"]).env("GIT_DIR", &folder).stdin(Stdio::piped());
        let mut git = git.spawn().unwrap();
        git.stdin.take().unwrap().write_all(import.as_bytes()).unwrap();
        assert!(git.wait().unwrap().success());
        std::fs::read_to_string(head).unwrap().trim().parse().unwrap()
    }

    /// Pushes such a commit, and tells what was queued for it.
    pub async fn push(&self, service: &ServiceName, containerfile: &str) -> Deployment {
        self.push_files(service, &[("Containerfile", containerfile)]).await
    }

    pub async fn push_files(&self, service: &ServiceName, files: &[(&str, &str)]) -> Deployment {
        let commit = self.commit_files(service, files);
        match self.tell(service, commit).await.unwrap() {
            Pushed::Deployed(deployment) => *deployment,
            other => panic!("{other:?}"),
        }
    }

    /// Tells the agent of a push, as git's hook does.
    pub async fn tell(&self, service: &ServiceName, commit: CommitId) -> Result<Pushed, ServiceError> {
        let name = service.clone();
        self.ask(move |parts| async move {
            let moved = [("refs/heads/main".to_owned(), Some(commit))];
            parts.deploys.pushed(&name, &moved, Actor::GitPassword).await
        })
        .await
    }

    /// Waits until the deployment has ended.
    pub async fn ended(&self, deployment: &Deployment) -> Deployment {
        let id = deployment.id;
        let ended = self.ask(move |parts| async move { parts.deploys.wait(id, PATIENCE).await }).await.unwrap();
        assert!(ended.state.is_final(), "{ended:?}");
        ended
    }

    /// Waits until the deployment is this far.
    pub async fn is_at(&self, deployment: &Deployment, state: DeploymentState) {
        let now = async || self.parts().store.deployment(deployment.id).await.unwrap().state;
        until(state.as_str(), async || now().await == state).await;
    }

    /// Pushes, and tells how that ends.
    pub async fn deploy(&self, service: &ServiceName, containerfile: &str) -> Deployment {
        let queued = self.push(service, containerfile).await;
        self.ended(&queued).await
    }

    /// The same with these files.
    pub async fn deploy_files(&self, service: &ServiceName, files: &[(&str, &str)]) -> Deployment {
        let queued = self.push_files(service, files).await;
        self.ended(&queued).await
    }

    /// Changes a service's settings.
    pub async fn set(&self, service: &ServiceName, change: impl FnOnce(&mut Settings) + Send + 'static) {
        let name = service.clone();
        let set = self.ask(move |parts| async move {
            let change = move |mut settings: Settings| {
                change(&mut settings);
                Ok(settings)
            };
            parts.services.change_settings(&name, None, change).await
        });
        set.await.unwrap();
    }

    pub async fn service(&self, name: &ServiceName) -> Service {
        self.parts().store.find_service(name).await.unwrap()
    }

    /// The newest deployment of a service.
    pub async fn newest(&self, name: &ServiceName) -> Deployment {
        let page = self.parts().store.deployments(name, None, 1).await.unwrap();
        page.deployments.into_iter().next().expect("there is one")
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.runtime.shutdown_background();
        }
    }
}
