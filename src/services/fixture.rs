//! What tests of services begin with.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::{Services, Uses};
use crate::config::{Config, LiveConfig};
use crate::events::Events;
use crate::git::Repositories;
use crate::journal::Journal;
use crate::names::{AbsPath, HookKey};
use crate::podman::Podman;
use crate::proxy::Routes;
use crate::queue::Queue;
use crate::store::{NewService, Service, Settings, Source, Store};
use crate::templates::Templates;
use crate::units::{Quadlets, UserManager};

/// What a Podman was asked: methods and paths.
pub(super) type Asked = Arc<Mutex<Vec<String>>>;

/// A Podman for the services in `folder`, which answers as `answer` says.
pub(super) fn answer(folder: &Path, answer: impl Fn(&str, &str) -> String + Send + 'static) -> Asked {
    let (listener, asked) = (UnixListener::bind(folder.join("podman.sock")).unwrap(), Asked::default());
    let all = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|four| four == b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
            let head = String::from_utf8_lossy(&head).into_owned();
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let body = answer(method, path);
            all.lock().unwrap().push(format!("{method} {path}"));
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    asked
}

/// Services over a store in `folder`, and without systemd.
pub(super) fn services(folder: &Path) -> Services {
    let path = |name: &str| AbsPath::try_from(folder.join(name)).unwrap();
    let mut config = Config::default();
    config.paths.state = path("");
    let config = LiveConfig::new(config);
    let (store, events) = (Store::open(&folder.join("store.db")).unwrap(), Events::new());
    Services::new(Uses {
        store: store.clone(),
        podman: Podman::new(path("podman.sock").into(), path("auth.json").to_path_buf()),
        units: UserManager::new(path("bus"), Default::default()),
        quadlets: Quadlets::new(folder.join("quadlets"), folder.join("units")),
        routes: Routes::new(folder.join("routes")),
        repositories: Repositories::new(config.clone()),
        templates: Templates::new(folder.join("templates")),
        journal: Journal::new(Some(folder.to_owned())),
        events: events.clone(),
        config,
        queue: Queue::new(store, events, 1),
    })
}

/// A service that never ran.
pub(super) async fn service(services: &Services, name: &str) -> Service {
    let new = NewService {
        name: name.parse().unwrap(),
        source: Source::Template("static".parse().unwrap()),
        branch: "main".parse().unwrap(),
        branch_chosen: true,
        hook_key: HookKey::from_random([7; 32]).unwrap(),
        settings: Settings::default(),
        max: 100,
    };
    services.uses.store.create_service(new).await.unwrap()
}
