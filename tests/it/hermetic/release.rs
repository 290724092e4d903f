//! A release's unit, as Quadlet makes it: its container, its port, and how it ends.

use std::net::Ipv4Addr;

use podkeeper::units::RELEASE_ADDRESS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::manager::{Manager, moment};
use super::program::{Answer, StartEnd};
use super::world::{Container, World, id_of, value, values};
use crate::support::PATIENCE;

/// What a unit ended with, in systemd's words.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub result: &'static str,
    pub status: i32,
}

impl Ended {
    pub fn status(status: i32) -> Self {
        Self { result: "exit-code", status }
    }

    pub const TIMEOUT: Self = Self { result: "timeout", status: 0 };
}

/// What `podman run` ends with where it can't run anything (podman-run(1), "Exit status").
const NOT_RUN: i32 = 125;

/// Starts a release's unit, and tells what its job comes to.
pub async fn start(manager: &Manager, unit: &str) -> String {
    if manager.world().units.get(unit).is_some_and(|unit| unit.active == "active") {
        return "done".into();
    }
    manager
        .set(unit, |unit| (unit.active, unit.sub, unit.result, unit.status) = ("activating", "start", "success", 0))
        .await;
    note_together(&mut manager.world(), unit);
    let Some(file) = manager.world().files.get(unit).cloned() else { return "failed".into() };
    let created = create(&mut manager.world(), &file);
    let container = match created {
        Ok(container) => container,
        Err(_why) => {
            manager.fail(unit, Ended::status(NOT_RUN)).await;
            return "failed".into();
        }
    };
    let program = manager.world().program_of(&container).cloned().unwrap_or_default();
    if let StartEnd::Job(word, status) = &program.start {
        let ended = match word.as_str() {
            "timeout" => Ended::TIMEOUT,
            "oom-kill" => Ended { result: "oom-kill", status: *status },
            _ => Ended::status(*status),
        };
        manager.fail(unit, ended).await;
        return if word == "oom-kill" { "failed".into() } else { word.clone() };
    }
    if value(&file, "Notify") == Some("healthy") && !file.contains("Notify=false") {
        loop {
            moment().await;
            let health = manager.world().containers.get(&container).map(|container| container.health);
            match health {
                // Somebody has stopped it meanwhile.
                None => return "canceled".into(),
                Some(Some(true)) => break,
                Some(Some(false)) => {
                    manager.fail(unit, Ended::TIMEOUT).await;
                    return "failed".into();
                }
                Some(None) => {}
            }
        }
    }
    listen(manager, unit, &program.answer).await;
    if !manager.is_loaded(unit) {
        // Somebody has stopped it meanwhile.
        if let Some(port) = value(&file, "PublishPort").and_then(|port| port.split(':').nth(1)?.parse::<u16>().ok()) {
            manager.world().ports.remove(&port);
        }
        return "canceled".into();
    }
    manager.set(unit, |unit| (unit.active, unit.sub) = ("active", "running")).await;
    if let Answer::Crash(status) = program.answer {
        let (this, name) = (manager.clone(), unit.to_owned());
        manager.set_life(unit, async move { crash_again_and_again(&this, &name, status).await });
    }
    "done".into()
}

/// Whether another release of the service runs at this moment.
fn note_together(world: &mut World, unit: &str) {
    let Some((service, _)) = unit.split_once('@') else { return };
    let runs = |(name, other): (&String, &super::world::Unit)| {
        name != unit && name.split_once('@').is_some_and(|(of, _)| of == service) && other.active != "failed"
    };
    if world.units.iter().any(runs) {
        world.together.insert(unit.to_owned());
    }
}

/// Makes the container that a unit's file asks for.
fn create(world: &mut World, file: &str) -> Result<String, &'static str> {
    let name = value(file, "ContainerName").ok_or("no name")?.to_owned();
    let image = value(file, "Image").ok_or("no image")?;
    let image = world.image(image).map(|(id, _)| id.clone()).ok_or("no such image")?;
    for secret in values(file, "Secret").filter_map(|secret| secret.split(',').next()) {
        if !world.secrets.contains_key(secret) {
            return Err("no such secret");
        }
    }
    let volumes = values(file, "Volume").filter_map(|volume| volume.split(':').next());
    world.volumes.extend(volumes.map(str::to_owned));
    let container = Container { id: id_of(&name), image, running: true, health: None };
    world.containers.insert(name.clone(), container);
    Ok(name)
}

async fn listen(manager: &Manager, unit: &str, answer: &Answer) {
    let Answer::Status(status) = *answer else { return };
    let Some(port) = manager.world().port_of(unit) else { return };
    let (address, end): (Ipv4Addr, _) = (RELEASE_ADDRESS, Instant::now() + PATIENCE);
    // Whoever answered there before has been told to end, and may not have yet.
    let listener = loop {
        match TcpListener::bind((address, port)).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < end => moment().await,
            bound => break bound.unwrap(),
        }
    };
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let said = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(said.as_bytes()).await;
        }
    });
    manager.world().ports.insert(port, AbortOnDropHandle::new(serving));
}

async fn crash_again_and_again(manager: &Manager, unit: &str, status: i32) {
    loop {
        moment().await;
        manager.set(unit, |unit| (unit.active, unit.sub, unit.status) = ("activating", "auto-restart", status)).await;
        moment().await;
        manager
            .set(unit, |unit| {
                (unit.active, unit.sub, unit.restarts) = ("active", "running", unit.restarts + 1);
            })
            .await;
    }
}

/// Takes away what a release's unit has while it runs; of another unit that is nothing.
pub fn end(manager: &Manager, unit: &str) {
    let mut world = manager.world();
    if let Some(port) = world.port_of(unit) {
        world.ports.remove(&port);
    }
    // Also where its file is gone by now.
    let instance = unit.strip_suffix(".service").unwrap_or(unit);
    if let Some((service, number)) = instance.split_once('@') {
        world.containers.remove(&format!("{service}-{number}"));
    }
}

/// Runs a release's health check once: the unit is `podkeeper-check-blog-1.service`.
pub fn check(manager: &Manager, unit: &str) -> String {
    let container = unit.strip_prefix("podkeeper-check-").and_then(|name| name.strip_suffix(".service"));
    let mut world = manager.world();
    let passes = container.and_then(|name| world.program_of(name)).and_then(|program| program.check);
    if let Some(container) = container.and_then(|name| world.containers.get_mut(name)) {
        container.health = passes;
    }
    "done".into()
}
