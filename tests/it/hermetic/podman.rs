//! Podman's REST interface on a unix socket, as far as the agent calls it. What it has no answer for is an error.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;

use super::calls::{Call, Calls, Refused};
use super::world::{Container, World, id_of};

/// A Podman that answers as long as this is there.
pub struct FakePodman {
    socket: PathBuf,
    world: Arc<Mutex<World>>,
    calls: Calls,
    serving: Option<AbortOnDropHandle<()>>,
}

impl FakePodman {
    pub fn start(socket: &Path, world: Arc<Mutex<World>>, calls: Calls) -> Self {
        let mut this = Self { socket: socket.to_owned(), world, calls, serving: None };
        this.come_back();
        this
    }

    /// Its socket is gone, with all that was under way on it.
    pub fn go(&mut self) {
        self.serving = None;
        std::fs::remove_file(&self.socket).unwrap();
    }

    pub fn come_back(&mut self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let (world, calls) = (self.world.clone(), self.calls.clone());
        self.serving = Some(AbortOnDropHandle::new(tokio::spawn(serve(listener, world, calls))));
    }
}

async fn serve(listener: UnixListener, world: Arc<Mutex<World>>, calls: Calls) {
    // Dropped with this task, they end with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (world, calls) = (world.clone(), calls.clone());
        let service = service_fn(move |request| answer(request, world.clone(), calls.clone()));
        connections.spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await });
        while connections.try_join_next().is_some() {}
    }
}

/// An error ends the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    world: Arc<Mutex<World>>,
    calls: Calls,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let asked = Asked::read(&head.method, &head.uri, body);
    let mut fate = calls.note(Call { what: asked.what.clone(), of: asked.name.clone() });
    let cut = || std::io::Error::other("cut off");
    let (status, text) = match fate.before().await {
        Err(Refused::ByEnd) => return Err(cut()),
        Err(Refused::ByAnswer) => refused(500, "the test says so"),
        Ok(()) => asked.carry_out(&mut world.lock().unwrap()),
    };
    fate.after().await.map_err(|_| cut())?;
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status.try_into().unwrap();
    Ok(answer)
}

/// As Podman words an error (its `errorhandling.ErrorModel`).
fn refused(status: u16, message: &str) -> (u16, String) {
    (status, json!({ "cause": "fake", "message": message, "response": status }).to_string())
}

fn none(kind: &str) -> (u16, String) {
    refused(404, &format!("no such {kind}"))
}

fn good(value: &Value) -> (u16, String) {
    (200, value.to_string())
}

/// A request, as the agent meant it.
struct Asked {
    /// Its method and path, with `{}` in the place of a name.
    what: String,
    name: String,
    query: Vec<(String, String)>,
    body: Bytes,
}

/// What follows these in a path is part of the interface, and no name.
const WORDS: [&str; 5] = ["json", "create", "stats", "df", "prune"];

impl Asked {
    fn read(method: &Method, uri: &hyper::Uri, body: Bytes) -> Self {
        let path = uri.path().split_once("/libpod/").map_or_else(|| uri.path(), |(_, path)| path);
        let (mut name, mut shape) = (String::new(), Vec::new());
        for (at, segment) in path.trim_start_matches('/').split('/').enumerate() {
            if at == 1 && !WORDS.contains(&segment) {
                name = percent_encoding::percent_decode_str(segment).decode_utf8().unwrap().into_owned();
                shape.push("{}");
            } else {
                shape.push(segment);
            }
        }
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        Self { what: format!("{method} {}", shape.join("/")), name, query, body }
    }

    fn of(&self, key: &str) -> &str {
        self.query.iter().find(|(known, _)| known == key).map_or("", |(_, value)| value)
    }

    fn carry_out(&self, world: &mut World) -> (u16, String) {
        let name = self.name.as_str();
        match self.what.as_str() {
            "GET version" => good(&json!({ "Version": "5.4.2" })),
            "GET info" => good(&json!({ "store": { "graphRoot": world.storage } })),
            "GET images/json" => good(&world.images.iter().map(|(id, image)| {
                let has = world.containers.values().filter(|container| container.image == *id).count();
                json!({ "Id": id, "Names": image.names, "Containers": has })
            }).collect()),
            "GET images/{}/json" => world.image(name).map_or_else(|| none("image"), |(id, image)| {
                let volumes: serde_json::Map<String, Value> =
                    image.program.volumes.iter().map(|path| (path.clone(), json!({}))).collect();
                let check = image.program.check.map(|_| json!({ "Test": ["CMD-SHELL", "true"] }));
                let mut ports = json!({ "8080/tcp": {} });
                let port = image.program.port.map_or_else(String::new, |port| port.to_string());
                if !port.is_empty() {
                    ports[format!("{port}/tcp")] = json!({});
                }
                let labels = json!({ "podkeeper.port": port });
                let config = json!({
                    "ExposedPorts": ports, "Volumes": volumes, "Labels": labels,
                    "Env": image.program.env, "Entrypoint": image.program.command,
                });
                good(&json!({ "Id": id, "Config": config, "Healthcheck": check }))
            }),
            "POST images/{}/tag" => {
                let to = format!("{}:{}", self.of("repo"), self.of("tag"));
                if world.tag(name, &to) { (201, String::new()) } else { none("image") }
            }
            "DELETE images/{}" => self.remove_image(world),
            "GET containers/json" => good(&world.containers.iter().map(|(name, container)| {
                let state = if container.running { "running" } else { "created" };
                json!({ "Id": container.id, "Names": [name], "State": state })
            }).collect()),
            "GET containers/{}/json" => world.containers.get(name).map_or_else(|| none("container"), |container| {
                let health = world.program_of(name).and_then(|program| program.check).map(|_| {
                    let status = container.health.map_or("starting", |good| if good { "healthy" } else { "unhealthy" });
                    let run = json!({ "Start": "", "End": "", "ExitCode": i32::from(container.health != Some(true)), "Output": "" });
                    json!({ "Status": status, "Log": container.health.map(|_| [run]) })
                });
                good(&json!({ "Id": container.id, "State": { "Running": container.running, "Health": health } }))
            }),
            "DELETE containers/{}" => {
                if world.containers.remove(name).is_some() { good(&json!([{ "Id": name }])) } else { none("container") }
            }
            "POST containers/create" => self.create_container(world),
            "GET containers/stats" => good(&json!({ "Stats": [] })),
            "GET secrets/json" => good(&world.secrets.keys().map(|name| json!({ "ID": name, "Spec": { "Name": name } })).collect()),
            "GET secrets/{}/json" => world.secrets.get(name).map_or_else(|| none("secret"), |value| good(&json!({ "SecretData": value }))),
            "POST secrets/create" => {
                let (name, value) = (self.of("name").to_owned(), String::from_utf8_lossy(&self.body).into_owned());
                if world.secrets.insert(name, value).is_some() {
                    return refused(500, "secret name in use");
                }
                good(&json!({ "ID": "x" }))
            }
            "DELETE secrets/{}" => if world.secrets.remove(name).is_some() { (204, String::new()) } else { none("secret") },
            "GET volumes/json" => good(&world.volumes.iter().map(|name| {
                json!({ "Name": name, "Driver": "local", "Mountpoint": "/x", "Scope": "local", "Labels": {}, "Options": {} })
            }).collect()),
            "DELETE volumes/{}" => if world.volumes.remove(name) { (204, String::new()) } else { none("volume") },
            other => refused(501, &format!("no test has needed {other} yet")),
        }
    }

    fn remove_image(&self, world: &mut World) -> (u16, String) {
        let Some((id, image)) = world.image(&self.name) else { return none("image") };
        let is_last = image.names.len() <= 1;
        if is_last && world.containers.values().any(|container| container.image == *id) {
            return refused(409, "image is in use by a container");
        }
        world.untag(&self.name);
        good(&json!({}))
    }

    fn create_container(&self, world: &mut World) -> (u16, String) {
        let spec: Value = serde_json::from_slice(&self.body).unwrap();
        let (name, image) = (spec["name"].as_str().unwrap().to_owned(), spec["image"].as_str().unwrap());
        let Some(image) = world.image(image).map(|(id, _)| id.clone()) else { return none("image") };
        if world.containers.contains_key(&name) {
            return refused(500, &format!("the container name \"{name}\" is already in use by 0a"));
        }
        let id = id_of(&name);
        world.containers.insert(name, Container { id: id.clone(), image, running: false, health: None });
        (201, json!({ "Id": id, "Warnings": [] }).to_string())
    }
}
