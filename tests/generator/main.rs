//! A release's file, read by Podman's own generator: whatever an image says of itself and whatever is set, the unit that
//! comes out of it has the keys that were meant and no other. The end-to-end tests run this on their host, where that
//! generator is.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that can't go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use podkeeper::names::{
    EnvKey, EnvValue, IdRange, MountPath, ReleaseName, ReleaseNumber, SecretName, StopSignal, VolumeName, Volumes,
};
use podkeeper::podman::ImageFacts;
use podkeeper::units::quadlet::render;
use podkeeper::units::{CheckSpec, ContainerSpec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

const GENERATOR: &str = "/usr/libexec/podman/quadlet";
const CASES: u32 = 400;

/// Texts that mean something to systemd, to its generator or to Podman, and anything.
fn texts() -> impl Strategy<Value = String> {
    let path = "(/[a-zA-Z0-9._+=@~-]{1,12}){1,4}/?";
    let end = prop_oneof![
        Just("\n[Service]\nExecStartPre=/bin/true"),
        Just("\\"),
        Just("\\\nExec=x"),
        Just("%n"),
        Just("${PATH}"),
        Just(":ro,U"),
        Just(",x=y"),
        Just(" b"),
        Just("\""),
        Just("\r\nUser=0"),
        Just("\u{85}User=0"),
        Just(".volume"),
    ];
    prop_oneof![4 => path.boxed(), 1 => (path, end).prop_map(|(path, end)| path + end).boxed(), 1 => any::<String>().boxed()]
}

/// What `podman image inspect` may show of somebody's image.
fn images() -> impl Strategy<Value = ImageFacts> {
    let set = || proptest::collection::btree_set(texts(), 0..4);
    let ports = proptest::collection::btree_set(prop_oneof!["[0-9]{1,6}(/tcp|/udp)?".boxed(), texts().boxed()], 0..3);
    (set(), set(), ports, texts(), any::<bool>()).prop_map(|(volumes, env, ports, text, checked)| {
        let keys = |set: BTreeSet<String>| set.into_iter().map(|key| (key, json!({}))).collect::<BTreeMap<_, _>>();
        let config = json!({ "Volumes": keys(volumes), "ExposedPorts": keys(ports), "Env": env, "Labels": { "a": text },
            "User": text, "StopSignal": text, "WorkingDir": text, "Entrypoint": [text] });
        let check = checked.then(|| json!({ "Test": ["CMD-SHELL", text] }));
        let image = json!({ "Id": "0".repeat(64), "Config": config, "Healthcheck": check });
        ImageFacts::read(image.to_string().as_bytes()).unwrap()
    })
}

fn specs() -> impl Strategy<Value = ContainerSpec> {
    let set = proptest::collection::btree_map("[a-z][a-z0-9-]{0,39}", texts(), 0..4);
    let env = proptest::collection::btree_map("[A-Za-z0-9_]{1,30}|[!-~]{1,10}|\\PC{1,10}", any::<bool>(), 0..4);
    let limits = (proptest::option::of(16..(1_u64 << 24)), proptest::option::of(1..10_000_u32));
    ("[a-z][a-z0-9-]{0,30}[a-z0-9]", 1..10_000_u32, images(), set, env, limits).prop_filter_map(
        "some of it is no name",
        |(service, number, image, set, env, (memory_mib, cpu_percent))| {
            let release = ReleaseName::new(&service.parse().ok()?, ReleaseNumber(number));
            let mut volumes = Volumes::default();
            for (name, path) in set {
                if let (Ok(name), Ok(path)) = (name.parse::<VolumeName>(), path.parse::<MountPath>()) {
                    let _ = volumes.add(name, path);
                }
            }
            volumes.complete(image.volumes.as_deref().unwrap_or_default(), &Volumes::default()).ok()?;
            let value = |key: &EnvKey, empty| match empty {
                true => EnvValue::Empty,
                false => EnvValue::Secret(SecretName::new(&release.service, key)),
            };
            let env = env.into_iter().filter_map(|(key, empty)| Some((key.parse::<EnvKey>().ok()?, empty)));
            Some(ContainerSpec {
                env: env.map(|(key, empty)| (key.clone(), value(&key, empty))).collect(),
                port: 20_000 + u16::try_from(number % 10_000).unwrap(),
                container_port: image.ports.first().copied(),
                init: image.command.is_empty(),
                stop_timeout: cpu_percent.map(|percent| Duration::from_secs(u64::from(percent % 300) + 1)),
                stop_signal: StopSignal::ALL.get(number as usize % 20).copied(),
                ids: IdRange::of_slot(number % IdRange::SERVICES),
                volumes,
                check: image.has_healthcheck.then(|| CheckSpec {
                    interval: Duration::from_secs(5),
                    timeout: Duration::from_secs(30),
                    program: "/usr/bin/podkeeper".parse().unwrap(),
                    podman: "/usr/bin/podman".parse().unwrap(),
                }),
                health_timeout: Duration::from_secs(30),
                memory_mib,
                cpu_percent,
                release,
            })
        },
    )
}

/// The words of `podman run` that this is to become, in any order.
fn meant(spec: &ContainerSpec) -> Vec<String> {
    let release = &spec.release;
    let ids = format!("0:{}:65536", spec.ids.base);
    let mut words: Vec<String> = [
        "/usr/bin/podman",
        "run",
        "--name",
        &release.container(),
        "--cidfile=%t/%N.cid",
        "--replace",
        "--rm",
        "--log-driver",
        "journald",
        "--log-opt",
        &format!("tag={}", release.service),
        "--cgroups=split",
        "--pull",
        "never",
        "-d",
        if spec.check.is_some() { "--sdnotify=healthy" } else { "--sdnotify=conmon" },
        "--security-opt=no-new-privileges",
        "--uidmap",
        &ids,
        "--gidmap",
        &ids,
        "--label",
        &format!("podkeeper.service={}", release.service),
        &release.image(),
    ]
    .map(str::to_owned)
    .into();
    if let Some(port) = spec.container_port {
        let publish = format!("127.0.0.2:{}:{port}", spec.port);
        words.extend(["--publish".to_owned(), publish, "--env".to_owned(), format!("PORT={port}")]);
    }
    if spec.init {
        words.push("--init".to_owned());
    }
    if let Some(timeout) = spec.stop_timeout {
        words.extend(["--stop-timeout".to_owned(), timeout.as_secs().to_string()]);
    }
    if let Some(signal) = spec.stop_signal {
        words.extend(["--stop-signal".to_owned(), signal.as_str().to_owned()]);
    }
    for (key, value) in &spec.env {
        match value.secret() {
            None => words.extend(["--env".to_owned(), format!("{key}=")]),
            Some(secret) => words.extend(["--secret".to_owned(), format!("{secret},type=env,target={key}")]),
        }
    }
    for (name, path) in spec.volumes.iter() {
        words.extend(["-v".to_owned(), format!("{}:{path}", release.volume(name))]);
    }
    words.sort();
    words
}

/// Each section's keys, and the one line that starts the container.
fn read(unit: &str) -> (BTreeSet<String>, Vec<String>) {
    let (mut section, mut keys, mut words) = ("", BTreeSet::new(), Vec::new());
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no key in {line:?}"));
            keys.insert(format!("{section}{key}"));
            if key == "ExecStart" {
                words.extend(value.split(' ').map(str::to_owned));
            }
        }
    }
    words.sort();
    (keys, words)
}

/// What any release's unit may hold, the generator's own keys among them.
const KEYS: &str = "[Unit]Description [Unit]StartLimitIntervalSec [Unit]Wants [Unit]SourcePath [Unit]RequiresMountsFor \
    [X-Container]ContainerName [X-Container]Image [X-Container]Pull [X-Container]PublishPort [X-Container]Environment \
    [X-Container]UIDMap [X-Container]GIDMap [X-Container]NoNewPrivileges [X-Container]LogDriver [X-Container]LogOpt \
    [X-Container]Label [X-Container]Secret [X-Container]Volume [X-Container]Notify [X-Container]RunInit \
    [X-Container]StopTimeout [X-Container]StopSignal [Service]Restart [Service]RestartSec \
    [Service]RestartSteps [Service]RestartMaxDelaySec [Service]TimeoutStartSec [Service]TimeoutStartFailureMode \
    [Service]TimeoutStopSec [Service]SuccessExitStatus [Service]MemoryMax [Service]MemorySwapMax [Service]CPUQuota \
    [Service]Environment [Service]KillMode [Service]ExecStop [Service]ExecStopPost [Service]Delegate [Service]Type \
    [Service]NotifyAccess [Service]SyslogIdentifier [Service]ExecStart \
    [X-Quadlet]DefaultDependencies";

#[test]
fn any_image_and_settings_give_the_unit_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::default();
    let mut specs: BTreeMap<String, ContainerSpec> = BTreeMap::new();
    let strategy = self::specs();
    for _ in 0..CASES {
        let spec = strategy.new_tree(&mut runner).unwrap().current();
        std::fs::write(folder.path().join(spec.release.quadlet_file()), render(&spec)).unwrap();
        specs.insert(spec.release.unit(), spec);
    }
    let output = Command::new(GENERATOR)
        .args(["-user", "-dryrun"])
        .env("QUADLET_UNIT_DIRS", folder.path())
        .output()
        .unwrap_or_else(|error| panic!("{GENERATOR}, which podman's package has: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let allowed: BTreeSet<String> = KEYS.split_whitespace().map(str::to_owned).collect();
    let mut seen = BTreeSet::new();
    for part in text.split("\n---").map(|part| part.trim_start_matches("---")) {
        let Some((name, unit)) = part.split_once("---\n") else { continue };
        let spec = specs.get(name).unwrap_or_else(|| panic!("a unit that nobody meant: {name}"));
        let (keys, words) = read(unit);
        let odd: Vec<_> = keys.difference(&allowed).collect();
        assert!(odd.is_empty(), "{odd:?} of {spec:?}\n{unit}");
        assert_eq!(words, meant(spec), "{spec:?}\n{unit}");
        let wanted: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("Wants=")).collect();
        let timer = spec.release.check_timer();
        assert_eq!(wanted, if spec.check.is_some() { vec![timer.as_str()] } else { Vec::new() }, "{unit}");
        let own_timer = unit.lines().any(|line| line == "Environment=DISABLE_HC_SYSTEMD=true");
        assert_eq!(own_timer, spec.check.is_some(), "{unit}");
        seen.insert(name.to_owned());
    }
    assert_eq!(seen.len(), specs.len(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(specs.values().any(|spec| spec.volumes.iter().count() > 1), "no case with volumes was tried");
}
