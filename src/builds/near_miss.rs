//! What may have been meant for a Containerfile, and isn't taken for one.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::names::RepoPath;

/// How deep, and how many files and folders of a repository are looked at.
const DEPTH: usize = 3;
const ENTRIES: usize = 2000;

/// What may have been meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NearMiss {
    /// A file of another name or in another folder, from the folder on that is built.
    Called(RepoPath),
    /// A link that leads out of the repository, or nowhere.
    LeadsOut(RepoPath),
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Called(path) => write!(f, "there is `{path}`"),
            Self::LeadsOut(path) => write!(f, "`{path}` is a link that leads to no file of the repository"),
        }
    }
}

impl NearMiss {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Called(path) if path.as_str().contains('/') => {
                format!("have it built by that one: `podkeeper settings NAME containerfile={path}`")
            }
            Self::Called(path) => format!(
                "call it `Containerfile` or `Dockerfile`, with a capital at its beginning alone, or have it built by that \
                 one: `podkeeper settings NAME containerfile={path}`"
            ),
            Self::LeadsOut(path) => format!("commit `{path}` as a file"),
        }
    }
}

/// The one that comes closest to what is `wanted`, or to a Containerfile: what is not deep comes first.
pub(super) fn find(folder: &Path, wanted: Option<&RepoPath>) -> Option<NearMiss> {
    let wanted_name = wanted.and_then(|path| path.as_str().rsplit('/').next()).map(str::to_ascii_lowercase);
    let is_meant = |name: &str| {
        let name = name.to_ascii_lowercase();
        let file = |kind: &str| {
            let begins = name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            begins || name.strip_suffix(kind).is_some_and(|rest| rest.ends_with('.'))
        };
        (file("containerfile") || file("dockerfile") || Some(&name) == wanted_name.as_ref())
            && !name.ends_with("ignore")
    };
    let mut left = ENTRIES;
    let mut folders = VecDeque::from([(PathBuf::new(), 1)]);
    while let Some((inner, depth)) = folders.pop_front() {
        let Ok(entries) = std::fs::read_dir(folder.join(&inner)) else { continue };
        let mut entries: Vec<_> = entries.flatten().take(left).collect();
        left -= entries.len();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (Ok(kind), path) = (entry.file_type(), inner.join(entry.file_name())) else { continue };
            let is_meant = entry.file_name().to_str().is_some_and(is_meant);
            match RepoPath::of(&path).filter(|_| is_meant) {
                Some(path) if kind.is_file() => return Some(NearMiss::Called(path)),
                Some(path) if kind.is_symlink() => return Some(NearMiss::LeadsOut(path)),
                _ if kind.is_dir() && depth < DEPTH => folders.push_back((path, depth + 1)),
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_may_have_been_meant_is_found() {
        let called = |path: &str| Some(NearMiss::Called(path.parse().unwrap()));
        for (files, found) in [
            (&["dockerfile", "main.c"][..], called("dockerfile")),
            (&["DockerFile"], called("DockerFile")),
            (&["containerfile"], called("containerfile")),
            (&["Dockerfile.prod"], called("Dockerfile.prod")),
            (&["a/b/Dockerfile", "docker/Dockerfile"], called("docker/Dockerfile")),
            (&["web.Dockerfile"], called("web.Dockerfile")),
            (&["Dockerfile.dockerignore", "mydockerfile", "a/b/c/Dockerfile"], None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                std::fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
                std::fs::write(folder.path().join(file), "").unwrap();
            }
            assert_eq!(find(folder.path(), None), found, "{files:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", folder.path().join("Containerfile")).unwrap();
        let found = find(folder.path(), None).unwrap();
        assert_eq!(found.to_string(), "`Containerfile` is a link that leads to no file of the repository");
        std::fs::write(folder.path().join("Image.Build"), "").unwrap();
        std::fs::remove_file(folder.path().join("Containerfile")).unwrap();
        assert_eq!(find(folder.path(), Some(&"image.build".parse().unwrap())), called("Image.Build"));
    }
}
