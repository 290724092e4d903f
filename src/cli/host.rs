//! `podkeeper host`: how the host is, what takes its disk, and what the agent's maintenance could not do.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

use super::client::Agent;
use super::options::Outcome;
use super::show;
use super::show::{Cell, ago, cell, text};
use super::tables::table;
use crate::api::host::{Host, Images, Limits, Space, Trouble, Volumes};

/// How often it is asked, a second each, until what takes the disk was measured.
const TRIES: u32 = 60;

/// Tells it.
pub async fn run(agent: &Agent, json: bool) -> Outcome {
    let mut answer = agent.get("/host").await?;
    let mut host: Host = answer.read()?;
    for _ in 0..TRIES {
        if !host.measuring || host.space.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        answer = agent.get("/host").await?;
        host = answer.read()?;
    }
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = show::out();
    let now = Timestamp::now();
    table(&mut out, &["PROPERTY", "VALUE"], &facts(&host, now))?;
    if let Some(measured) = &host.space {
        let age = ago(Some(measured.measured), now).0;
        writeln!(out, "\nWhat takes the disk, as it was measured {age} ago")?;
        table(&mut out, &["KIND", "SIZE", "DETAIL"], &space(measured))?;
    }
    if !host.troubles.is_empty() {
        writeln!(out, "\nWhat maintenance could not do")?;
    }
    for trouble in &host.troubles {
        writeln!(out, "{}", sentence(trouble, now))?;
        if let Some(hint) = &trouble.hint {
            writeln!(out, "  Next: {hint}")?;
        }
    }
    if host.more_troubles {
        writeln!(out, "and more")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A trouble in words.
pub(super) fn sentence(trouble: &Trouble, now: Timestamp) -> String {
    let Trouble { service, task, why, times, .. } = trouble;
    let about = service.as_ref().map(|service| format!("{service}: ")).unwrap_or_default();
    format!("{about}can't {task}: {why} (for {}, tried {times} times)", ago(Some(trouble.since), now).0)
}

/// A size as a person says it.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mib @ 1..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}

/// Which limits count.
fn limits(limits: &Limits) -> String {
    match limits.missing()[..] {
        [] => "the kernel enforces all".into(),
        ref missing => format!("the kernel does not enforce those of {}", missing.join(", ")),
    }
}

/// So much is free of so much.
fn room(of: Option<(u64, u64)>) -> Cell {
    cell(of.map(|(free, total)| format!("{} of {} are free", size(free), size(total))))
}

fn facts(host: &Host, now: Timestamp) -> Vec<Vec<Cell>> {
    let disk =
        |disk: &Option<crate::api::host::Disk>| room(disk.as_ref().map(|disk| (disk.free_bytes, disk.total_bytes)));
    let memory = host.memory.as_ref().map(|memory| (memory.available_bytes, memory.total_bytes));
    let versions = &host.versions;
    vec![
        vec![text("disk"), disk(&host.disk.state)],
        vec![text("disk of containers"), disk(&host.disk.containers)],
        vec![text("memory"), room(memory)],
        vec![text("limits"), cell(host.limits.as_ref().map(limits))],
        vec![text("the agent runs for"), ago(Some(host.started), now)],
        vec![text("os"), cell(versions.os.as_ref())],
        vec![text("kernel"), cell(versions.kernel.as_ref())],
        vec![text("systemd"), cell(versions.systemd.as_ref())],
        vec![text("podman"), cell(versions.podman.as_ref())],
        vec![text("git"), cell(versions.git.as_ref())],
        vec![text("proxy"), cell(versions.proxy.as_ref())],
        vec![text("podkeeper"), text(&versions.podkeeper)],
    ]
}

fn space(space: &Space) -> Vec<Vec<Cell>> {
    let sized = |bytes: Option<u64>| cell(bytes.map(size));
    let images = |images: &Images| match images.unnamed {
        0 => format!("{} of them", images.count),
        unnamed => {
            format!("{} of them; nothing names {unnamed}, which are {}", images.count, size(images.unnamed_bytes))
        }
    };
    let volumes = |volumes: &Volumes| format!("{} of them", volumes.count);
    let mut rows = vec![
        vec![
            text("images"),
            sized(space.images.as_ref().map(|images| images.bytes)),
            text(space.images.as_ref().map(images).unwrap_or_default()),
        ],
        vec![
            text("volumes"),
            sized(space.volumes.as_ref().map(|volumes| volumes.bytes)),
            text(space.volumes.as_ref().map(volumes).unwrap_or_default()),
        ],
        vec![text("repositories"), sized(space.repositories_bytes)],
        vec![text("database"), sized(space.database_bytes)],
        vec![text("journal"), sized(space.journal_bytes)],
    ];
    let mut caches: Vec<(&String, &u64)> = space.caches.iter().flatten().collect();
    caches.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    for (name, bytes) in caches {
        rows.push(vec![text(format!("builds of {name}")), text(size(*bytes))]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_troubles_are_told_in_words() {
        for (bytes, text) in [(2048, "2 KiB"), (5 << 20, "5 MiB"), (20 << 30, "20 GiB")] {
            assert_eq!(size(bytes), text);
        }
        let trouble = Trouble {
            service: Some("blog".into()),
            task: "bring it to what is wanted of it".into(),
            why: "no".into(),
            hint: None,
            since: "2026-01-01T22:00:00Z".parse().unwrap(),
            last: "2026-01-01T23:00:00Z".parse().unwrap(),
            times: 7,
        };
        let told = "blog: can't bring it to what is wanted of it: no (for 2h, tried 7 times)";
        assert_eq!(sentence(&trouble, "2026-01-02T00:00:00Z".parse().unwrap()), told);
    }
}
