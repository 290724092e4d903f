//! The direction of dependencies: no module names one of a layer above its own, adapters don't know each other, and
//! within a module no file imports one that imports it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::imports::{Crate, circles};

/// From the bottom up. Modules of one layer don't name each other, but where the second list allows it.
const LAYERS: &[&[&str]] = &[
    &[
        "names",
        "problem",
        "events",
        "exchange",
        "decode",
        "config",
        "permits",
        "connection",
        "text",
        "tls",
        "uptime",
        "words",
    ],
    &["podman", "units", "journal", "git", "proxy", "store", "templates", "hooks", "sandbox"],
    &["queue", "builds", "auth", "terminal"],
    &["services"],
    &["host"],
    &["deploys"],
    &["api"],
    &["http", "socketio", "dashboard"],
    &["agent"],
    &["cli"],
];

/// What answers requests and what carries streams call the rooms of the core, and nothing below those: no store, and no part
/// of the host.
const OUTER: &[&str] = &["http", "socketio", "dashboard"];
const HIDDEN: &[&str] =
    &["podman", "units", "journal", "git", "proxy", "store", "templates", "sandbox", "queue", "builds"];

/// Within one layer: the first may name the second.
const BESIDE: &[(&str, &str)] = &[
    ("names", "problem"),
    ("names", "words"),
    ("problem", "text"),
    ("problem", "words"),
    ("events", "names"),
    ("config", "names"),
    ("config", "decode"),
    ("decode", "names"),
    ("connection", "permits"),
    ("http", "dashboard"),
];

/// The files that import each other in a circle all the same, and why; a module's name alone is its `mod.rs`. Nothing is
/// added here, and what is mended is taken out.
const CIRCLES: &[(&[&str], &str)] = &[
    (
        &[
            "auth",
            "auth/audit",
            "auth/fold",
            "auth/identity",
            "auth/limits",
            "auth/passkeys",
            "auth/password",
            "auth/presented",
            "auth/site",
            "auth/credential_watch",
            "auth/tokens",
        ],
        "the module's own type and its errors are in its `mod.rs`, which has parts of the others",
    ),
    (
        &["store", "store/disk", "store/lane", "store/refit"],
        "the module's own type and its errors are in its `mod.rs`, which has parts of the others",
    ),
    (
        &["store/deployments", "store/env", "store/history", "store/hooks", "store/services"],
        "the rows of one transaction are several files', which write each other's",
    ),
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
        let text = std::fs::read_to_string(&file).unwrap();
        // A test may be given what the product is not.
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for hidden in named(product).iter().filter(|target| HIDDEN.contains(&target.as_str())) {
            let why = "which is for the rooms of the core";
            assert!(!OUTER.contains(&module), "{} names `{hidden}`, {why}", relative.display());
        }
        for target in named(&text) {
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
fn no_file_imports_one_that_imports_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let sources = Crate::read(&source, all.iter().map(PathBuf::as_path));
    let mut arrows = sources.imports();
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 1000, "the imports are not read");
    for (module, imports) in &mut arrows {
        imports.retain(|other| other.first() == module.first());
    }
    let mut known: Vec<BTreeSet<String>> =
        CIRCLES.iter().map(|(files, _)| files.iter().map(|file| (*file).to_owned()).collect()).collect();
    for circle in circles(&arrows) {
        let shown = circle.iter().map(|file| {
            let others = arrows[file].intersection(&circle).map(|other| other.join("/"));
            format!("{} imports {}", file.join("/"), others.collect::<Vec<_>>().join(", "))
        });
        let shown = shown.collect::<Vec<_>>().join("\n");
        let files: BTreeSet<String> = circle.iter().map(|file| file.join("/")).collect();
        let is_known = known.iter().position(|one| files.is_subset(one)).map(|at| known.remove(at));
        assert!(is_known.is_some(), "these files import each other in a circle:\n{shown}");
        assert!(is_known.is_some_and(|one| one == files), "some of this circle is mended; CIRCLES has more:\n{shown}");
    }
    assert!(known.is_empty(), "mended, but still in CIRCLES: {known:?}");
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
fn units_are_called_what_they_are_in_one_place() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    files(&source, &mut all);
    let mut made = 0;
    for file in all {
        let relative = file.strip_prefix(&source).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let makes = ["}.service\"", "}.slice\"", "}.timer\"", "}.container\""].iter().any(|end| text.contains(end));
        if relative.starts_with("names/on_host") {
            made += usize::from(makes);
        } else if !relative.starts_with("cli") {
            assert!(!makes, "{} makes the name of a unit: names/on_host does that", relative.display());
        }
    }
    assert!(made > 2, "only {made} files make names of units");
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
