//! What the tests of the store's files begin with.

use jiff::Timestamp;

use super::{Cause, Deployment, EnvSecrets, NewDeployment, NewRelease, NewService, Service, Settings, Source, Store};
use crate::names::{Actor, Volumes};

/// A store with one service.
pub(super) async fn one_service() -> (tempfile::TempDir, Store, Service) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store.db")).unwrap();
    let service = store.create_service(new_service("blog")).await.unwrap();
    (folder, store, service)
}

/// An empty one.
pub(super) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("agent/store.db")).unwrap();
    (folder, store)
}

/// What makes a service.
pub(super) fn new_service(name: &str) -> NewService {
    NewService {
        name: name.parse().unwrap(),
        source: Source::Template("static".parse().unwrap()),
        branch: "main".parse().unwrap(),
        branch_chosen: true,
        hook_key: crate::names::HookKey::from_random([7; 32]).unwrap(),
        settings: Settings::default(),
        max: 3,
    }
}

/// Somebody starts it.
pub(super) fn start(name: &str) -> NewDeployment {
    NewDeployment::build(&name.parse().unwrap(), Cause::Start, Actor::Agent, None)
}

/// A deployment's release, which has the traffic.
pub(super) async fn release(store: &Store, service: &Service, new: NewDeployment) -> Deployment {
    let (deployment, _) = store.request_deployment(new).await.unwrap();
    let number = store.number_release(deployment.id).await.unwrap();
    let release = NewRelease {
        number,
        deployment: deployment.id,
        commit: None,
        port: 20_000 + number.0 as u16,
        container_port: Some(80),
        healthcheck: false,
        health_interval: None,
        check_timeout: None,
        init: false,
        env: EnvSecrets::new(),
        volumes: Volumes::default(),
        settings: Settings::default(),
        repository: None,
        created: Timestamp::now(),
    };
    assert!(store.create_release(service.id, release).await.unwrap());
    store.make_current(service.id, number, deployment.id).await.unwrap();
    deployment
}
