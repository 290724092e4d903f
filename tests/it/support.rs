//! A server on a port of its own, and an agent whose host is missing.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::service::Service;
use hyper::{Request, Response};
use podkeeper::agent::Parts;
use podkeeper::auth::Auth;
use podkeeper::config::{Config, LiveConfig};
use podkeeper::deploys::Deploys;
use podkeeper::events::Events;
use podkeeper::host::Host;
use podkeeper::http::{self, Bridge, Listeners, RequestBody, Server, State};
use podkeeper::names::{AbsPath, HookKey, Scope, ServiceName};
use podkeeper::problem::Problem;
use podkeeper::services::Services;
use podkeeper::socketio::{self, Sockets};
use podkeeper::store::{Grant, NewService, Settings, Source, Store};
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

/// How long something may take that is going to happen: only what never does takes so long.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Whether this process has only the test `name` to run. Where it has others, too, one is started that has not, and must
/// end well: what a whole process takes is measured there.
pub fn is_alone(name: &str) -> bool {
    const ALONE: &str = "PODKEEPER_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", "--nocapture", name]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// Something that is served; it ends when this is dropped.
pub struct Served {
    pub address: SocketAddr,
    pub local: std::path::PathBuf,
    _folder: tempfile::TempDir,
    _stop: DropGuard,
}

pub async fn serve<S, B>(service: S, config: LiveConfig, stopping: CancellationToken) -> Served
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Problem> + Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let folder = tempfile::tempdir().unwrap();
    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = web.local_addr().unwrap();
    let local = folder.path().join("agent.sock");
    let listeners = Listeners { web: vec![web], local: vec![tokio::net::UnixListener::bind(&local).unwrap()] };
    tokio::spawn(Server::new(service, config, stopping.clone()).run(listeners));
    Served { address, local, _folder: folder, _stop: stopping.drop_guard() }
}

/// An agent with a store of its own and neither Podman nor systemd.
pub struct TestAgent {
    pub served: Served,
    pub events: Events,
    pub services: Services,
    pub host: Host,
    pub auth: Auth,
    pub deploys: Deploys,
    pub sockets: Sockets,
    pub stopping: CancellationToken,
    pub config: LiveConfig,
    pub store: Store,
    pub folder: tempfile::TempDir,
}

impl TestAgent {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With another configuration than the default, under which wrong keys and handshakes are hardly limited.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        let path = |name: &str| AbsPath::try_from(folder.path().join(name)).unwrap();
        config.paths.state = path("");
        config.paths.journal = Some(path(""));
        config.paths.quadlets = path("quadlets");
        config.paths.routes = path("routes");
        config.paths.templates = concat!(env!("CARGO_MANIFEST_DIR"), "/config/templates").parse().unwrap();
        config.host.podman_socket = Some(path("podman.sock"));
        config.host.bus_socket = Some(path("bus"));
        config.limits.guesses = NonZeroU32::MAX;
        config.limits.handshakes = NonZeroU32::MAX;
        change(&mut config);
        let config = LiveConfig::new(config);
        let parts = Parts::build(config.clone()).unwrap();
        let bridge = Bridge::new(http::app(http::state(parts.for_http())), State::body_limit);
        let (service, sockets) = socketio::mount(bridge, parts.for_streams());
        tokio::spawn(sockets.clone().run());
        tokio::spawn({
            let (auth, stopping) = (parts.auth.clone(), parts.stopping.clone());
            async move { stopping.run_until_cancelled(auth.guard()).await }
        });
        let served = serve(service, config.clone(), parts.stopping.clone()).await;
        let Parts { store, events, services, host, deploys, auth, stopping, .. } = parts;
        Self { served, events, services, host, auth, deploys, sockets, stopping, config, store, folder }
    }

    /// Changes the configuration, as a reload does.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) {
        let mut config = Config::clone(&self.config.get());
        change(&mut config);
        assert!(self.config.replace(config));
    }

    /// The store's file, for what only time or another hand can do to it.
    pub fn database(&self) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(self.folder.path().join("agent/store.db")).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        database
    }

    /// A new token.
    pub async fn token(&self, name: &str, scope: Scope, service: Option<ServiceName>) -> SecretString {
        self.auth.create_token(name.parse().unwrap(), Grant { scope, service }, None).await.unwrap()
    }

    /// A service that was never started.
    pub async fn service(&self, name: &str) -> ServiceName {
        let new = NewService {
            name: name.parse().unwrap(),
            source: Source::Template("static".parse().unwrap()),
            branch: "main".parse().unwrap(),
            branch_chosen: true,
            hook_key: HookKey::from_random([7; 32]).unwrap(),
            settings: Settings::default(),
            max: 10,
        };
        self.store.create_service(new).await.unwrap().name
    }

    /// Asks over the unix socket, as a process on the host.
    pub async fn ask_locally(&self, request: &str) -> Answer {
        exchange(UnixStream::connect(&self.served.local).await.unwrap(), request).await
    }

    pub async fn ask(&self, request: &str) -> Answer {
        raw(self.served.address, request).await
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub fn code(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().trim_start_matches("urn:podkeeper:problem:").to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

/// Sends `request` as it is and reads until the end.
pub async fn raw(address: SocketAddr, request: &str) -> Answer {
    exchange(TcpStream::connect(address).await.unwrap(), request).await
}

/// The same on a connection that is there.
pub async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let answered = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await;
    answered
        .unwrap_or_else(|_| panic!("no end of the answer to {request}\nbut {}", String::from_utf8_lossy(&text)))
        .unwrap();
    Answer::parse(&String::from_utf8_lossy(&text))
}

/// The same, but of a good answer only its head: its body may go on for ever.
pub async fn head(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let reading = async {
        while stream.read_buf(&mut text).await.unwrap() > 0 {
            if text.starts_with(b"HTTP/1.1 2") && text.windows(4).any(|four| four == b"\r\n\r\n") {
                break;
            }
        }
    };
    let answered = tokio::time::timeout(PATIENCE, reading).await;
    assert!(answered.is_ok(), "no answer to {request}");
    Answer::parse(&String::from_utf8_lossy(&text))
}

/// A request that asks for the end of the connection.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}
