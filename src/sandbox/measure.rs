//! What of the disk is taken by what belongs to the services' ids, which only the user namespace's root sees.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{SandboxError, system};
use super::tidy::size_in_use;

/// What was measured, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// What is kept from build to build, by service.
    pub caches: BTreeMap<String, u64>,
    /// All repositories.
    pub repositories: u64,
}

/// Measures the folders, and writes down what they take.
pub fn measure(cache: &Path, repositories: &Path, into: &Path) -> Result<(), SandboxError> {
    let mut measured = Measured::default();
    for name in folders(cache)? {
        // A build may remove what is being looked at, and maintenance all of it.
        if let Ok(bytes) = size_in_use(&cache.join(&name)) {
            measured.caches.insert(name, bytes);
        }
    }
    if repositories.exists() {
        measured.repositories = size_in_use(repositories)?;
    }
    // It is of texts and numbers, which are always JSON.
    let text = serde_json::to_vec(&measured).unwrap_or_default();
    let part = into.with_extension("part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, into))
        .map_err(system("write down what was measured"))
}

fn folders(cache: &Path) -> Result<Vec<String>, SandboxError> {
    let what = "look at the cache";
    let mut names = Vec::new();
    let entries = match std::fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(system(what)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(system(what))?;
        if entry.file_type().map_err(system(what))?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, git, into) =
            (folder.path().join("cache"), folder.path().join("git"), folder.path().join("measured.json"));
        let read = || serde_json::from_slice::<Measured>(&std::fs::read(&into).unwrap()).unwrap();
        measure(&cache, &git, &into).unwrap();
        assert_eq!(read(), Measured::default());
        for place in [cache.join("blog/store"), cache.join("shop"), git.join("blog.git")] {
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("file"), vec![1; 100_000]).unwrap();
        }
        measure(&cache, &git, &into).unwrap();
        let measured = read();
        let large = |bytes: &u64| (100_000..1_000_000).contains(bytes);
        assert_eq!(measured.caches.keys().collect::<Vec<_>>(), ["blog", "shop"]);
        assert!(measured.caches.values().all(large) && large(&measured.repositories), "{measured:?}");
    }
}
