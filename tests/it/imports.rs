//! Which file of the crate imports what of which other, read from the sources. Each name is followed to the file that has
//! it: what a file only passes on is no import of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module by its names from the crate's root on.
pub type Module = Vec<String>;

/// What a file says, in words and signs, without comments, texts and tests.
fn words(text: &str) -> Vec<String> {
    let tests = text.match_indices("#[cfg(test)]\n").find(|(at, mark)| {
        let line = text[at + mark.len()..].lines().next().unwrap_or_default();
        line.ends_with('{') && line.split_whitespace().any(|word| word == "mod")
    });
    let text: Vec<char> = text[..tests.map_or(text.len(), |(at, _)| at)].chars().collect();
    let (mut words, mut at) = (Vec::new(), 0);
    let has = |at: usize, wanted: &str| wanted.chars().enumerate().all(|(n, c)| text.get(at + n) == Some(&c));
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    while at < text.len() {
        if has(at, "//") {
            while at < text.len() && text[at] != '\n' {
                at += 1;
            }
        } else if has(at, "/*") {
            while at < text.len() && !has(at, "*/") {
                at += 1;
            }
            at += 2;
        } else if let Some(hashes) = raw_text(&text[at..]) {
            let end = format!("\"{}", "#".repeat(hashes));
            at += hashes + 2;
            while at < text.len() && !has(at, &end) {
                at += 1;
            }
            at += end.len();
        } else if text[at] == '"' {
            at += 1;
            while at < text.len() && text[at] != '"' {
                at += if text[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if text[at] == '\'' {
            // A letter, or the name of a lifetime.
            at += match (text.get(at + 1), text.get(at + 2)) {
                (Some('\\'), _) => 3 + text[at + 3..].iter().take_while(|c| **c != '\'').count(),
                (Some(_), Some('\'')) => 2,
                _ => 0,
            };
            at += 1;
        } else if has(at, "::") {
            words.push("::".to_owned());
            at += 2;
        } else if is_name(text[at]) {
            let word: String = text[at..].iter().take_while(|c| is_name(**c)).collect();
            at += word.chars().count();
            words.push(word);
        } else {
            if !text[at].is_whitespace() {
                words.push(text[at].to_string());
            }
            at += 1;
        }
    }
    words
}

/// Whether a raw text begins here, and with how many signs before it.
fn raw_text(text: &[char]) -> Option<usize> {
    let rest = text.strip_prefix(&['r'])?;
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

/// One name that a `use` brings.
#[derive(Debug)]
struct Use {
    path: Module,
    name: String,
    /// Others may have it from here.
    passes_on: bool,
}

/// What the tree behind `use` brings; `at` is behind it afterwards.
fn tree(words: &[String], at: &mut usize, before: &[String], all: &mut Vec<(Module, String)>) {
    let mut path = before.to_vec();
    loop {
        match words.get(*at).map(String::as_str) {
            Some("{") => {
                *at += 1;
                while words.get(*at).is_some_and(|word| word != "}") {
                    tree(words, at, &path, all);
                    if words.get(*at).is_some_and(|word| word == ",") {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            Some("::") => *at += 1,
            Some("as") => {
                let name = words.get(*at + 1).cloned().unwrap_or_default();
                *at += 2;
                all.push((path, name));
                return;
            }
            Some("self") if !path.is_empty() => *at += 1,
            Some(";" | "," | "}") | None => {
                let name = path.last().cloned().unwrap_or_default();
                all.push((path, name));
                return;
            }
            Some(word) => {
                path.push(word.to_owned());
                *at += 1;
            }
        }
    }
}

/// A file: what it brings in by `use`, the paths it writes out, and the words that it says beside.
struct Source {
    uses: Vec<Use>,
    paths: Vec<Module>,
    said: BTreeSet<String>,
}

impl Source {
    fn read(text: &str) -> Self {
        let words = words(text);
        let (mut uses, mut paths, mut said) = (Vec::new(), Vec::new(), BTreeSet::new());
        let is_name = |word: &String| word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let mut at = 0;
        while at < words.len() {
            let before = at.checked_sub(1).map_or("", |before| words[before].as_str());
            if words[at] == "use" && words.get(at + 1).is_some_and(is_name) {
                let passes_on = matches!(before, "pub" | ")");
                let mut all = Vec::new();
                at += 1;
                tree(&words, &mut at, &[], &mut all);
                uses.extend(all.into_iter().map(|(path, name)| Use { path, name, passes_on }));
            } else if is_name(&words[at]) && before != "::" && before != "." {
                let mut path = vec![words[at].clone()];
                while words.get(at + 1).is_some_and(|word| word == "::") && words.get(at + 2).is_some_and(is_name) {
                    path.push(words[at + 2].clone());
                    at += 2;
                }
                said.insert(path[0].clone());
                if path.len() > 1 {
                    paths.push(path);
                }
                at += 1;
            } else {
                at += 1;
            }
        }
        Self { uses, paths, said }
    }
}

/// The files of a crate by their modules.
pub struct Crate {
    sources: BTreeMap<Module, Source>,
}

impl Crate {
    /// Reads all files of a folder.
    pub fn read<'a>(folder: &Path, files: impl IntoIterator<Item = &'a Path>) -> Self {
        let module = |file: &Path| -> Module {
            let name = file.strip_prefix(folder).unwrap().with_extension("");
            let parts = name.iter().map(|part| part.to_str().unwrap().to_owned());
            parts.filter(|part| !matches!(part.as_str(), "mod" | "lib" | "main")).collect()
        };
        let read = |file: &Path| Source::read(&std::fs::read_to_string(file).unwrap());
        let files = files.into_iter().filter(|file| !file.ends_with("main.rs"));
        Self { sources: files.map(|file| (module(file), read(file))).collect() }
    }

    fn child(&self, of: &Module, name: &str) -> Option<Module> {
        let mut child = of.clone();
        child.push(name.to_owned());
        self.sources.contains_key(&child).then_some(child)
    }

    /// The module that has what `path` names in `module`; none where that is another crate's.
    fn home(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        let mut now = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (now, rest) = (Module::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {}
            first if self.child(module, first).is_some() => {}
            _ => return None,
        }
        while let Some((name, behind)) = rest.split_first() {
            if name == "super" {
                now.pop();
            } else if let Some(child) = self.child(&now, name) {
                now = child;
            } else {
                let brought = self.sources[&now].uses.iter().find(|one| one.name == *name);
                return match brought {
                    Some(one) if depth < 8 => self.home(&now, &one.path, depth + 1).or(Some(now)),
                    _ => Some(now),
                };
            }
            rest = behind;
        }
        Some(now)
    }

    /// What each file imports of the others.
    pub fn imports(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |(module, source): (&'_ Module, &'_ Source)| {
            let uses = source.uses.iter().filter(|one| !one.passes_on || source.said.contains(&one.name));
            let paths = uses.map(|one| &one.path).chain(&source.paths);
            let homes = paths.filter_map(|path| self.home(module, path, 0)).filter(|home| home != module);
            homes.collect::<BTreeSet<_>>()
        };
        self.sources.iter().map(|(module, source)| (module, of((module, source)))).collect()
    }
}

/// What can be reached from `from` by `arrows`.
fn reached<'a>(from: &'a Module, arrows: &'a BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(arrows.get(module).into_iter().flatten().filter(|other| seen.insert(*other)));
    }
    seen
}

/// The files that import each other in a circle, circle by circle.
pub fn circles(arrows: &BTreeMap<&Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reach: BTreeMap<_, _> = arrows.keys().map(|module| (*module, reached(module, arrows))).collect();
    let mut circles: Vec<BTreeSet<Module>> = Vec::new();
    for (module, all) in &reach {
        let circle: BTreeSet<Module> = all
            .iter()
            .filter(|other| reach.get(**other).is_some_and(|back| back.contains(module)))
            .map(|m| (*m).clone())
            .collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

#[test]
fn a_name_is_followed_to_the_file_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = [
        file("lib.rs", "mod a;"),
        file("a/mod.rs", "mod b; mod c; mod d; mod e; pub use b::B; use d::D; fn f(_: D) {}"),
        file(
            "a/b.rs",
            "pub struct B; // super::c::C\nconst TEXT: &str = \"super::c::C\"; fn x<'a>(_: &'a u8) -> char { '\"' }",
        ),
        file(
            "a/c.rs",
            "use super::B;\nfn f() { let _ = crate::a::e::g(); }\n#[cfg(test)]\nmod tests {\n    use super::super::d::D;\n}",
        ),
        file("a/d.rs", "pub struct D;\nuse super::f;"),
        file("a/e.rs", "use super::{c::{self, C as Other}, b};"),
    ];
    let read = Crate::read(folder.path(), files.iter().map(|file| file.as_path()));
    let arrows = read.imports();
    let named = |module: &str| -> Vec<String> {
        let module: Module = module.split('/').map(str::to_owned).collect();
        arrows[&module].iter().map(|module| module.join("/")).collect()
    };
    assert_eq!(named("a"), ["a/d"], "what is passed on is no import");
    assert_eq!(named("a/b"), [""; 0]);
    assert_eq!(named("a/c"), ["a/b", "a/e"]);
    assert_eq!(named("a/d"), ["a"]);
    assert_eq!(named("a/e"), ["a/b", "a/c"]);
    let circles = circles(&arrows);
    let circles: Vec<Vec<String>> =
        circles.iter().map(|one| one.iter().map(|module| module.join("/")).collect()).collect();
    assert_eq!(circles, [vec!["a", "a/d"], vec!["a/c", "a/e"]]);
}
