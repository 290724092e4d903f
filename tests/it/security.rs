//! Each promise of `src/SECURITY.md` names tests that are there.

use std::collections::HashSet;
use std::path::Path;

/// The names of all tests: Rust's, with an attribute that says so, and Python's.
fn tests(folder: &Path, all: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests(&path, all);
            continue;
        }
        let kind = path.extension().and_then(|extension| extension.to_str());
        if !matches!(kind, Some("rs" | "py")) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut is_test = kind == Some("py");
        for line in text.lines().map(str::trim) {
            let line = line.strip_prefix("async ").unwrap_or(line);
            if line.starts_with("#[") {
                is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            } else if let Some(rest) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("def test_")) {
                let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                match kind {
                    Some("py") if line.starts_with("def test_") => drop(all.insert(format!("test_{name}"))),
                    Some("rs") if is_test => drop(all.insert(name)),
                    _ => {}
                }
                is_test = kind == Some("py");
            }
        }
    }
}

#[test]
fn every_promise_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = HashSet::new();
    tests(&root.join("src"), &mut all);
    tests(&root.join("tests"), &mut all);
    let text = std::fs::read_to_string(root.join("src/SECURITY.md")).unwrap();
    let promises: Vec<String> = text
        .split("\n- ")
        .skip(1)
        .map(|promise| promise.split("\n\n").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert!(promises.len() >= 25, "{}", promises.len());
    for promise in promises {
        let named = promise.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")).map(|(_, named)| named);
        let named = named.unwrap_or_else(|| panic!("no test is named: {promise}"));
        for name in named.split(", ") {
            let name = name.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(name);
            assert!(all.contains(name), "there is no test {name}: {promise}");
        }
    }
}
