//! What images say of themselves, as Podman writes it (podman-image-inspect(1)): each file in `tests/data/images` is one,
//! with what is made of it and why.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use podkeeper::podman::ImageFacts;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    why: String,
    inspect: serde_json::Value,
    facts: Facts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    ports: Vec<u16>,
    check: Option<Check>,
    /// None: they are refused.
    volumes: Option<Vec<String>>,
    env: BTreeMap<String, String>,
}

/// In seconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    interval: Option<u64>,
    timeout: Option<u64>,
}

#[test]
fn an_image_is_read_as_podman_writes_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let case: Case = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let said = format!("{}: {}", file.display(), case.why);
        let facts = ImageFacts::read(case.inspect.to_string().as_bytes()).unwrap();
        assert_eq!(facts.ports, case.facts.ports, "{said}");
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let times = case.facts.check.as_ref().map(|check| (seconds(check.interval), seconds(check.timeout)));
        assert_eq!(facts.has_healthcheck, times.is_some(), "{said}");
        assert_eq!((facts.health_interval, facts.health_timeout), times.unwrap_or_default(), "{said}");
        let volumes = facts.volumes.ok().map(|paths| paths.iter().map(ToString::to_string).collect());
        assert_eq!(volumes, case.facts.volumes, "{said}");
        assert_eq!(facts.env.into_iter().collect::<BTreeMap<_, _>>(), case.facts.env, "{said}");
        read += 1;
    }
    assert!(read > 10, "only {read} were read");
}
