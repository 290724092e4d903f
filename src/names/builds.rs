//! What an image is built from, as a service's settings and its repository's `podkeeper.toml` say it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::NameError;
use super::text::{is_hidden, shown, text_name};

/// How many patterns a service can watch.
pub const MOST_WATCHED: usize = 50;
/// How many arguments, variables or secrets a build can be given, each.
pub const MOST_BUILD_NAMES: usize = 50;
/// How many bytes an argument's text may have.
const ARGUMENT: usize = 4096;
/// What each build is told of its source.
const OWN: [&str; 2] = [BuildName::COMMIT, BuildName::BRANCH];

text_name! {
    /// The path of a file or folder of a repository, from a folder of it on: without `..`, of what a terminal shows, at most
    /// 500 bytes. `./a//b/` is `a/b`, and `.` the folder itself.
    RepoPath
}

impl FromStr for RepoPath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let good = (1..=500).contains(&text.len())
            && !text.starts_with('/')
            && !parts.contains(&"..")
            && !text.chars().any(|c| is_hidden(c) || c == '\\');
        match (good, parts.is_empty()) {
            (false, _) => Err(NameError::RepoPath(shown(text))),
            (true, true) => Ok(Self(".".to_owned())),
            (true, false) => Ok(Self(parts.join("/"))),
        }
    }
}

impl RepoPath {
    /// The folder that it begins in.
    #[must_use]
    pub fn top() -> Self {
        Self(".".to_owned())
    }

    /// Whether it is the folder that it begins in.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.0 == "."
    }

    /// The path of `inner`, which begins in this folder.
    #[must_use]
    pub fn join(&self, inner: &Self) -> Self {
        match (self.is_top(), inner.is_top()) {
            (true, _) => inner.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, inner.0)),
        }
    }

    /// What a repository itself calls a path of its own; none where it is no path that can be told.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        path.to_str()?.parse().ok()
    }
}

text_name! {
    /// A pattern of files of a repository, from its top on, such as `apps/web/**` or `*.md`: `*` and `?` end at a slash, `**`
    /// does not. What names a folder means all that is below it.
    WatchPattern
}

impl FromStr for WatchPattern {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
        let good = (1..=200).contains(&text.len())
            && !text.starts_with(['/', '!'])
            && !text.split('/').any(|part| part == "..")
            && !text.chars().any(is_hidden)
            && glob(text).is_ok();
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::WatchPattern(shown(text))) }
    }
}

fn glob(text: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).build()
}

/// The files that a push must touch so that it is deployed; none: any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<WatchPattern>")]
pub struct Watch(Vec<WatchPattern>);

impl Watch {
    /// Whether any file counts.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of these paths, as git writes them, counts. Where that can't be told one does.
    #[must_use]
    pub fn touches<'a>(&self, mut paths: impl Iterator<Item = &'a Path>) -> bool {
        self.is_all() || self.globs().is_none_or(|globs| paths.any(|path| globs.is_match(path)))
    }

    fn globs(&self) -> Option<GlobSet> {
        let mut globs = GlobSetBuilder::new();
        for pattern in &self.0 {
            globs.add(glob(&pattern.0).ok()?);
            globs.add(glob(&format!("{pattern}/**")).ok()?);
        }
        globs.build().ok()
    }

    /// The patterns as they are shown.
    #[must_use]
    pub fn list(&self) -> String {
        self.0.iter().map(|pattern| format!("`{pattern}`")).collect::<Vec<_>>().join(", ")
    }
}

impl TryFrom<Vec<WatchPattern>> for Watch {
    type Error = NameError;
    fn try_from(patterns: Vec<WatchPattern>) -> Result<Self, NameError> {
        match patterns.len() > MOST_WATCHED {
            true => Err(NameError::TooMany { what: "patterns", most: MOST_WATCHED }),
            false => Ok(Self(patterns)),
        }
    }
}

text_name! {
    /// The name of a build's argument or secret: 1 to 200 of letters, digits and _, beginning with no digit, so that a
    /// Containerfile can name it and nothing that carries it reads more in it.
    BuildName
}

impl FromStr for BuildName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = (1..=200).contains(&text.len())
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match good {
            true if OWN.contains(&text) => Err(NameError::OwnBuildName(text.to_owned())),
            true => Ok(Self(text.to_owned())),
            false => Err(NameError::BuildName(shown(text))),
        }
    }
}

impl BuildName {
    /// The argument that tells each build its commit.
    pub const COMMIT: &'static str = "SOURCE_COMMIT";
    /// The argument that tells each build its branch.
    pub const BRANCH: &'static str = "SOURCE_BRANCH";
}

text_name! {
    /// The text of a build's argument: one line of what a terminal shows, at most 4096 bytes. It is secret from nobody.
    BuildText
}

impl FromStr for BuildText {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.len() <= ARGUMENT && !text.chars().any(is_hidden) {
            true => Ok(Self(text.to_owned())),
            false => Err(NameError::BuildText),
        }
    }
}

/// The arguments of a build, with their texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<BuildName, BuildText>")]
pub struct BuildArgs(BTreeMap<BuildName, BuildText>);

impl BuildArgs {
    /// Each argument with its text.
    pub fn iter(&self) -> impl Iterator<Item = (&BuildName, &BuildText)> {
        self.0.iter()
    }
}

impl TryFrom<BTreeMap<BuildName, BuildText>> for BuildArgs {
    type Error = NameError;
    fn try_from(all: BTreeMap<BuildName, BuildText>) -> Result<Self, NameError> {
        match all.len() > MOST_BUILD_NAMES {
            true => Err(NameError::TooMany { what: "build arguments", most: MOST_BUILD_NAMES }),
            false => Ok(Self(all)),
        }
    }
}

/// The names of a service's variables that its builds are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<BuildName>")]
pub struct BuildNames(BTreeSet<BuildName>);

impl BuildNames {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &BuildName> {
        self.0.iter()
    }
}

impl TryFrom<BTreeSet<BuildName>> for BuildNames {
    type Error = NameError;
    fn try_from(all: BTreeSet<BuildName>) -> Result<Self, NameError> {
        match all.len() > MOST_BUILD_NAMES {
            true => Err(NameError::TooMany { what: "variables", most: MOST_BUILD_NAMES }),
            false => Ok(Self(all)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn paths_stay_in_their_repository() {
        for (text, is) in
            [("apps/web", "apps/web"), ("./a//b/", "a/b"), (".", "."), ("./", "."), ("My App/é", "My App/é")]
        {
            assert_eq!(text.parse::<RepoPath>().unwrap().as_str(), is);
        }
        check::<RepoPath>(
            &["..a", "a..b"],
            &["", "/", "/a", "..", "a/../b", "a\\b", "a\nb", "a\u{202e}b", &"a".repeat(501)],
        );
        let path = |text: &str| text.parse::<RepoPath>().unwrap();
        for (outer, inner, is) in [(".", "b", "b"), ("a", ".", "a"), ("a", "b/c", "a/b/c"), (".", ".", ".")] {
            assert_eq!(path(outer).join(&path(inner)).as_str(), is);
        }
    }

    #[test]
    fn what_is_watched() {
        let watch = |patterns: &[&str]| {
            let patterns = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect::<Vec<WatchPattern>>();
            Watch::try_from(patterns).unwrap()
        };
        for (patterns, touched, untouched) in [
            (&["apps/web/**"][..], &["apps/web/a", "apps/web/b/c"][..], &["apps/website", "a"][..]),
            (&["apps/web", "go.mod"], &["apps/web/a/b", "apps/web", "go.mod"], &["x/go.mod"]),
            (&["apps/web/"], &["apps/web/a"], &["apps/webby/a"]),
            (&["*.md"], &["a.md"], &["docs/a.md"]),
            (&["**/*.md"], &["a.md", "docs/a.md"], &["a.txt"]),
            (&["{a,b}/?"], &["a/x", "b/x/y"], &["c/x", "a/xy"]),
            (&[], &["anything"], &[]),
        ] {
            let watch = watch(patterns);
            let touches = |path: &&str| watch.touches(std::iter::once(Path::new(path)));
            assert!(touched.iter().all(&touches), "{patterns:?}");
            assert!(!untouched.iter().any(touches), "{patterns:?}");
        }
        assert!(!watch(&["a"]).touches(std::iter::empty()));
        check::<WatchPattern>(
            &["a", "[ab]", "a b"],
            &["", "/", "/a", "!a", "../a", "a/../b", "[", "{a", "a\nb", &"a".repeat(201)],
        );
        let many = vec!["a".parse::<WatchPattern>().unwrap(); MOST_WATCHED + 1];
        assert!(Watch::try_from(many).is_err());
    }

    #[test]
    fn what_a_build_is_given() {
        check::<BuildName>(
            &["A", "_x", "NEXT_PUBLIC_URL"],
            &["", "1A", "a-b", "a.b", "A=B", "#A", "A,src=/etc", "A\n", "É", "SOURCE_COMMIT", "SOURCE_BRANCH"],
        );
        check::<BuildText>(&["", "https://a.example/?b=c,d e", "é"], &["a\nb", "a\0", "\u{1b}[2J", &"a".repeat(4097)]);
        let args = |text: &str| serde_json::from_str::<BuildArgs>(text);
        assert!(
            args(r#"{"A":"x","B":""}"#).is_ok() && args(r#"{"A":"x\ny"}"#).is_err() && args(r#"{"A,":"x"}"#).is_err()
        );
    }
}
