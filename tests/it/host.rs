//! What is told of the host, and what of its images nothing names, by a Podman that has what the test wants.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use podkeeper::host::Host;
use podkeeper::names::{Actor, Scope, Volumes};
use podkeeper::store::{Cause, EnvSecrets, NewDeployment, NewRelease, Settings};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::support::{PATIENCE, TestAgent, request};

/// An image of the fake's: what its id is made of, its names, and how many containers are made of it.
struct Image(char, Vec<&'static str>, i64);

impl Image {
    fn id(&self) -> String {
        self.0.to_string().repeat(64)
    }
}

/// Podman's REST interface, as far as images go. What is marked as stuck can't be removed.
#[derive(Clone)]
struct FakePodman {
    images: Arc<Mutex<Vec<Image>>>,
    stuck: Arc<Mutex<Option<char>>>,
    storage: PathBuf,
}

impl FakePodman {
    fn at(socket: PathBuf, images: Vec<Image>) -> Self {
        let storage = socket.with_file_name("storage");
        let images = Arc::new(Mutex::new(images));
        let this = Self { images, storage, stuck: Arc::default() };
        let listener = UnixListener::bind(socket).unwrap();
        let fake = this.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.windows(4).any(|four| four == b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0
                {
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let mut words = head.split(' ');
                let (method, path) = (words.next().unwrap(), words.next().unwrap());
                let (status, body) = fake.answer(method, &decoded(path));
                let body = body.to_string();
                let head =
                    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        this
    }

    fn answer(&self, method: &str, path: &str) -> (u16, Value) {
        let mut images = self.images.lock().unwrap();
        let (_, path) = path.split_once("/libpod").unwrap();
        if (method, path) == ("GET", "/images/json") {
            let one = |image: &Image| json!({ "Id": image.id(), "Names": image.1, "Containers": image.2 });
            return (200, images.iter().map(one).collect());
        }
        if path == "/info" {
            return (200, json!({ "store": { "graphRoot": self.storage } }));
        }
        if path.starts_with("/containers/json") {
            // As of a clock that was not set yet.
            let one = |digit: &str, name: &str| json!({ "Id": digit.repeat(64), "Names": [name], "State": "storage", "Created": "1970-01-01T00:00:00Z" });
            return (200, json!([one("a", "debian-working-container"), one("b", "somebodys")]));
        }
        if path.starts_with("/containers/") {
            return (404, json!({ "message": "no such container" }));
        }
        let name = path.strip_prefix("/images/").unwrap();
        let (name, inspects) = name.strip_suffix("/json").map_or((name, false), |name| (name, true));
        let Some(at) = images.iter().position(|image| image.id() == name || image.1.contains(&name)) else {
            return (404, json!({ "message": "no such image" }));
        };
        if inspects {
            return (200, json!({ "Id": images[at].id(), "Config": {} }));
        }
        assert_eq!(method, "DELETE");
        if *self.stuck.lock().unwrap() == Some(images[at].0) {
            return (409, json!({ "message": "image is in use" }));
        }
        images[at].1.retain(|known| *known != name);
        if images[at].1.is_empty() {
            images.remove(at);
        }
        (200, json!({}))
    }

    fn left(&self) -> String {
        self.images.lock().unwrap().iter().map(|image| image.0).collect()
    }
}

fn decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8().unwrap().into_owned()
}

/// Lets it be two hours ago that the look first saw these images.
fn age(unnamed: &Path, images: &str) {
    for image in images.chars() {
        let noted = unnamed.join(image.to_string().repeat(64));
        assert!(noted.exists());
        std::fs::write(noted, "7200 another-boot 0\n").unwrap();
    }
}

/// Removes all that may go, as the look does; false where something could not be removed.
async fn remove_old(host: &Host) -> bool {
    let mut all = true;
    for id in host.old_images().await.unwrap() {
        all &= host.remove_image(&id).await.is_ok();
    }
    all
}

#[tokio::test]
async fn an_image_that_nothing_names_goes_after_a_while_and_no_other() {
    let agent = TestAgent::start_with(|config| {
        config.builds.keep_cache = Duration::from_secs(3600);
        config.shell.image = Some("busybox".parse().unwrap());
    })
    .await;
    let service = agent.service("blog").await;
    let start = NewDeployment {
        service,
        cause: Cause::Start,
        actor: Actor::Agent,
        commit: None,
        from_release: None,
        env: None,
    };
    let (deployment, _) = agent.store.request_deployment(start).await.unwrap();
    agent.store.number_release(deployment.id).await.unwrap();
    let podman = FakePodman::at(
        agent.folder.path().join("podman.sock"),
        vec![
            // A deployment's, the shell's under another name, one with a container, a base that was pulled before builds had
            // a place of their own, what a build that was killed had handed over, one of a service that is gone, and one that
            // comes today.
            Image('a', vec!["localhost/podkeeper/blog:1"], 0),
            Image('b', vec!["docker.io/library/busybox:latest", "busybox"], 0),
            Image('c', vec!["docker.io/library/alpine:3"], 1),
            Image('d', vec!["docker.io/library/debian:13", "docker.io/library/debian:trixie"], 0),
            Image('e', vec![], 0),
            Image('f', vec!["localhost/podkeeper/gone:7"], 0),
            Image('0', vec!["localhost/by-hand:1"], 0),
        ],
    );
    let host = &agent.host;
    let unnamed = agent.folder.path().join("agent/unnamed");
    assert!(remove_old(host).await);
    assert_eq!(podman.left(), "abcdef0");
    assert_eq!(std::fs::read_dir(&unnamed).unwrap().count(), 4);

    age(&unnamed, "def");
    *podman.stuck.lock().unwrap() = Some('d');
    assert!(!remove_old(host).await);
    assert_eq!(podman.left(), "abcd0", "one that can't be removed keeps no other");
    *podman.stuck.lock().unwrap() = None;
    assert!(remove_old(host).await);
    assert_eq!(podman.left(), "abc0");
}

#[tokio::test]
async fn an_image_goes_by_what_it_is_and_not_by_the_names_that_it_had() {
    let agent = TestAgent::start_with(|config| config.builds.keep_cache = Duration::from_secs(3600)).await;
    let socket = agent.folder.path().join("podman.sock");
    let images = vec![Image('a', vec!["localhost/x:1", "localhost/x:2"], 0), Image('b', vec!["localhost/y:1"], 0)];
    let podman = FakePodman::at(socket, images);
    let host = &agent.host;
    assert!(remove_old(host).await);
    age(&agent.folder.path().join("agent/unnamed"), "ab");
    let old = host.old_images().await.unwrap();
    assert_eq!(old.len(), 2);
    // Somebody makes a container of the one, and pulls another image of the other's first name, which the list shows still.
    {
        let mut images = podman.images.lock().unwrap();
        images[1].2 = 1;
        images.insert(0, Image('c', vec!["localhost/x:1"], 0));
    }
    for id in &old {
        host.remove_image(id).await.unwrap();
    }
    let images = podman.images.lock().unwrap();
    let names: Vec<_> = images.iter().map(|image| (image.0, image.1.clone())).collect();
    assert_eq!(names, [('c', vec!["localhost/x:1"]), ('a', vec!["localhost/x:1"]), ('b', vec!["localhost/y:1"])]);
}

#[tokio::test]
async fn a_route_that_can_not_be_read_takes_no_port_but_those_that_it_may_lead_to() {
    let agent = TestAgent::start_with(|config| {
        (config.services.first_port, config.services.last_port) = (20_017, 20_018);
    })
    .await;
    let _podman = FakePodman::at(agent.folder.path().join("podman.sock"), Vec::new());
    let name = agent.service("blog").await;
    let service = agent.store.service(&name).await.unwrap();
    let start = NewDeployment {
        service: name,
        cause: Cause::Start,
        actor: Actor::Agent,
        commit: None,
        from_release: None,
        env: None,
    };
    let (deployment, _) = agent.store.request_deployment(start).await.unwrap();
    let number = agent.store.number_release(deployment.id).await.unwrap();
    let release = NewRelease {
        number,
        deployment: deployment.id,
        commit: None,
        port: 20_017,
        container_port: Some(80),
        healthcheck: false,
        health_interval: None,
        check_timeout: None,
        init: false,
        env: EnvSecrets::new(),
        volumes: Volumes::default(),
        settings: Settings::default(),
        repository: None,
        created: jiff::Timestamp::now(),
    };
    assert!(agent.store.create_release(service.id, release).await.unwrap());
    // Somebody's file in the place of another's routes.
    let routes = agent.folder.path().join("routes");
    std::fs::create_dir_all(&routes).unwrap();
    std::fs::create_dir_all(agent.folder.path().join("quadlets")).unwrap();
    std::fs::write(routes.join("other.localhost"), b"").unwrap();
    assert_eq!(agent.services.free_port().await.unwrap().unwrap(), 20_018);
    agent.services.discard_release(&service, number).await.unwrap();
    assert_eq!(
        agent.services.free_port().await.unwrap().unwrap(),
        20_018,
        "the other may lead to what the release had"
    );
    std::fs::remove_file(routes.join("other.localhost")).unwrap();
    agent.store.free_ports(agent.store.kept_ports().await.unwrap()).await.unwrap();
    let both: std::collections::HashSet<u16> = join_all((0..100).map(|_| agent.services.free_port()))
        .await
        .into_iter()
        .map(|port| port.unwrap().unwrap())
        .collect();
    assert_eq!(both.len(), 2);
}

#[tokio::test]
async fn a_working_container_is_somebodys_until_it_has_been_there_for_a_day() {
    let agent = TestAgent::start().await;
    let _podman = FakePodman::at(agent.folder.path().join("podman.sock"), Vec::new());
    let host = &agent.host;
    assert!(host.old_containers().await.unwrap().is_empty());
    let id = "a".repeat(64);
    let noted = agent.folder.path().join("agent/working-containers").join(&id);
    std::fs::write(noted, "86400 another-boot 0\n").unwrap();
    assert_eq!(host.old_containers().await.unwrap(), [id.parse().unwrap()]);
}

#[tokio::test]
async fn layers_that_nothing_is_made_of_are_told() {
    let agent = TestAgent::start().await;
    let podman = FakePodman::at(agent.folder.path().join("podman.sock"), Vec::new());
    let host = &agent.host;
    let left = async |layers: Value| {
        let list = podman.storage.join("overlay-layers/layers.json");
        std::fs::create_dir_all(list.parent().unwrap()).unwrap();
        std::fs::write(list, layers.to_string()).unwrap();
        host.look_for_nobodys_layers().await.map_err(|error| error.to_string())
    };
    let now = jiff::Timestamp::now();
    let old = now - jiff::SignedDuration::from_hours(25);
    let layer = |id: &str, created| json!({ "id": id, "created": created });
    assert_eq!(left(json!([])).await, Ok(()));
    assert_eq!(left(json!([layer("new", now)])).await, Ok(()), "an image may become of it");
    let told = left(json!([layer("old", old), layer("new", now)])).await.unwrap_err();
    assert!(told.starts_with("1 layers in Podman's storage"), "{told}");
}

#[tokio::test]
async fn the_host_is_told_and_what_the_look_can_not_do_is_until_it_can() {
    let agent = TestAgent::start_with(|config| config.services.maintenance = Duration::from_millis(100)).await;
    let (sound, broken) = (agent.service("sound").await, agent.service("broken").await);
    // Its repository can't be made.
    let git = agent.folder.path().join("git");
    std::fs::create_dir_all(&git).unwrap();
    std::fs::write(git.join("broken.git"), b"").unwrap();
    let token = agent.token("reader", Scope::Read, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let host = async || {
        let answer = agent.ask(&request("GET", "/host", &[("Authorization", &bearer)], "")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let told = host().await;
    assert_eq!((&told["troubles"], &told["more_troubles"]), (&json!([]), &json!(false)));
    assert_eq!(told["versions"]["podkeeper"], env!("CARGO_PKG_VERSION"));
    assert!(told["versions"]["git"].is_string() && told["versions"]["podman"].is_null(), "{told}");
    let (disk, memory) = (&told["disk"]["state"], &told["memory"]);
    assert!(disk["free_bytes"].as_u64() <= disk["total_bytes"].as_u64() && disk["total_bytes"].is_u64(), "{told}");
    assert!(memory["available_bytes"].as_u64() <= memory["total_bytes"].as_u64() && memory["total_bytes"].is_u64());
    assert_eq!(told["disk"]["containers"], Value::Null);

    let looking = tokio::spawn({
        let deploys = agent.deploys.clone();
        async move { deploys.run().await }
    });
    let until = async |what: &str, is: &dyn Fn(&Value) -> bool| {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let told = host().await;
                if is(&told) {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{what}"))
    };
    let of = |told: &Value, service: Option<&str>, task: &str| {
        let all = told["troubles"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["service"].as_str() == service && one["task"] == task)
    };
    let (branch, view) = ("see what its branch holds", "see what the host shows of the services");
    // There is neither systemd nor Podman, and the one repository is broken.
    let told = until("all is told", &|told| {
        let twice = |trouble: Option<Value>| trouble.is_some_and(|trouble| trouble["times"].as_u64() >= Some(2));
        twice(of(told, Some("broken"), branch)) && twice(of(told, None, view))
    })
    .await;
    assert!(agent.folder.path().join("git/sound.git/HEAD").exists(), "the look went on behind what it could not do");
    assert_eq!(of(&told, Some(sound.as_str()), branch), None);
    let trouble = of(&told, None, view).unwrap();
    assert!(trouble["why"].as_str().unwrap().contains("systemd"), "{trouble}");
    assert!(trouble["hint"].is_string() && trouble["since"].as_str() < trouble["last"].as_str(), "{trouble}");

    std::fs::remove_file(git.join("broken.git")).unwrap();
    until("what can be done is forgotten", &|told| of(told, Some(broken.as_str()), branch).is_none()).await;
    looking.abort();
}
