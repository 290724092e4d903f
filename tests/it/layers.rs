//! The direction of dependencies: no module names one of a layer above its own, and adapters don't know each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the bottom up. Modules of one layer don't name each other, but where the second list allows it.
const LAYERS: &[&[&str]] = &[
    &["names", "problem", "events", "config", "places", "connection", "text", "uptime", "words"],
    &["podman", "units", "journal", "git", "proxy", "store", "templates", "hooks", "sandbox"],
    &["builds", "services", "auth", "terminal"],
    &["host"],
    &["deploys"],
    &["api"],
    &["http", "socketio", "dashboard"],
    &["agent"],
    &["cli"],
];

/// Within one layer: the first may name the second.
const BESIDE: &[(&str, &str)] = &[
    ("names", "problem"),
    ("problem", "text"),
    ("problem", "words"),
    ("events", "names"),
    ("config", "names"),
    ("connection", "places"),
    ("http", "dashboard"),
];

fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

/// The crate's modules that a source names: `crate::name` and the heads of `use crate::{a, b::c}`.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let mut head = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.push(std::mem::take(&mut head)),
                        c if depth == 0 => head.push(c),
                        _ => {}
                    }
                }
                names.push(head);
            }
            None => names.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
        }
    }
    names.iter().map(|name| name.trim().split("::").next().unwrap_or_default().trim().to_owned()).collect()
}

#[test]
fn dependencies_run_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layer: BTreeMap<&str, usize> =
        LAYERS.iter().enumerate().flat_map(|(index, names)| names.iter().map(move |name| (*name, index))).collect();
    let mut all = Vec::new();
    files(&source, &mut all);
    let mut arrows = 0;
    for file in all {
        let relative = file.strip_prefix(&source).unwrap();
        let module = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "main" | "lib") {
            continue;
        }
        let own = *layer.get(module).unwrap_or_else(|| panic!("`{module}` is in no layer"));
        for target in named(&std::fs::read_to_string(&file).unwrap()) {
            let Some(other) = layer.get(target.as_str()) else { continue };
            if target == module {
                continue;
            }
            arrows += 1;
            let beside = BESIDE.contains(&(module, target.as_str()));
            assert!(*other < own || beside, "{} names `{target}`, which is not below it", relative.display());
        }
    }
    assert!(arrows > 100, "only {arrows} arrows were found");
}

#[test]
fn foreign_types_stay_in_their_module() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let homes: &[(&str, &[&str])] = &[
        ("podman_api::", &["podman"]),
        ("zbus::", &["units"]),
        ("rusqlite::", &["store"]),
        ("tide::", &["http"]),
        ("socketioxide::", &["socketio"]),
        ("webauthn_rs::", &["auth"]),
        ("systemd::journal", &["journal"]),
        ("portable_pty::", &["terminal"]),
        ("vt100::", &["terminal"]),
        ("vte::", &["text"]),
    ];
    for file in all {
        let relative = file.strip_prefix(&source).unwrap().to_owned();
        let module =
            relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        for (foreign, homes) in homes {
            assert!(
                !text.contains(foreign) || homes.contains(&module.as_str()),
                "{} names {foreign}",
                relative.display()
            );
        }
    }
}

#[test]
fn the_command_line_prints_by_what_shields_the_terminal() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"), &mut all);
    let names: Vec<_> = all.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    assert!(names.contains(&"show.rs") && names.contains(&"shell.rs"));
    for file in &all {
        let text = std::fs::read_to_string(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        for (what, only) in [("stdout()", "show.rs"), ("stderr()", "show.rs"), ("show::session()", "shell.rs")] {
            assert!(
                !text.contains(what) || name == only,
                "{name} has {what}: others' text goes through show::out and show::err"
            );
        }
        let has_macro = ["print!(", "println!(", "dbg!("].iter().any(|what| text.contains(what));
        assert!(!has_macro, "{name} prints past show::out");
    }
}
