//! Pointers of Git LFS in a checkout: the files that they stand for are put into their places.

use std::collections::{BTreeSet, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::command::failed;
use super::measure::Size;
use super::submodules::{Part, shown};
use super::{GitError, Repositories};
use crate::names::{LfsId, LfsPointer, ServiceName};

/// How many files the story names.
const NAMED: usize = 10;
/// What a pointer has at least, in bytes.
const SHORTEST: u64 = 100;

/// A pointer in a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its file, from the checkout's top on.
    pub(super) path: PathBuf,
    /// What it stands for.
    pub(super) pointer: LfsPointer,
}

/// All pointers below `folder`, of which `within` is looked at. What is no plain file is none.
fn find(folder: &Path, within: &Path, found: &mut Vec<Found>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder.join(within))? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, within.join(entry.file_name()));
        if kind.is_dir() {
            find(folder, &path, found)?;
        } else if kind.is_file() && (SHORTEST..=LfsPointer::LONGEST as u64).contains(&entry.metadata()?.len()) {
            found.extend(LfsPointer::read(&std::fs::read(entry.path())?).map(|pointer| Found { path, pointer }));
        }
    }
    Ok(())
}

/// Puts the file at `object` into the place of a pointer, with the pointer's mode.
fn replace(object: &Path, place: &Path) -> std::io::Result<()> {
    let mode = std::fs::symlink_metadata(place)?.permissions().mode();
    let folder = place.parent().unwrap_or(place);
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    std::io::copy(&mut std::fs::File::open(object)?, &mut part)?;
    part.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    part.persist(place).map_err(|error| error.error)?;
    Ok(())
}

/// Some of the files, as the story names them.
fn named<'a>(paths: impl ExactSizeIterator<Item = &'a Path>) -> String {
    let all = paths.len();
    let some: Vec<String> = paths.take(NAMED).map(|path| format!("`{}`", shown(path))).collect();
    let more = if all > NAMED { format!(" and {} more", all - NAMED) } else { String::new() };
    format!("{}{more}", some.join(", "))
}

impl Repositories {
    /// Puts the large files into the places of all pointers in the checkout `into`, which has files of `size`. Those that
    /// can't be had are named in the story: what is built has the pointers in their place.
    pub(super) async fn fill_pointers(
        &self,
        service: &ServiceName,
        parts: &[Part],
        into: &Path,
        size: Size,
    ) -> Result<(), GitError> {
        let folder = into.to_owned();
        let look = move || {
            let mut found = Vec::new();
            find(&folder, Path::new(""), &mut found).map(|()| found)
        };
        let found = tokio::task::spawn_blocking(look).await.map_err(std::io::Error::other).and_then(|found| found);
        let found = found.map_err(failed("read", into))?;
        if found.is_empty() {
            return Ok(());
        }
        let size = found.iter().fold(size, |size, one| size.with_file(one.pointer.size));
        self.check_size(size)?;
        self.check_room(into, size.on_disk())?;
        let is_hosted = parts.first().is_none_or(|part| part.from.is_none());
        let mut there = HashSet::new();
        for part in parts.iter().filter(|part| part.from.is_some()) {
            let own: Vec<&LfsPointer> =
                found.iter().filter(|one| is_of(parts, part, &one.path)).map(|one| &one.pointer).collect();
            self.fetch_objects(service, part, &own).await?;
        }
        let (mut filled, mut missing) = (Vec::new(), Vec::new());
        for one in &found {
            let (object, place) = (self.object(service, &one.pointer.id), into.join(&one.path));
            if !self.has_object(service, &one.pointer.id).await {
                missing.push(one);
                continue;
            }
            let done = tokio::task::spawn_blocking(move || replace(&object, &place)).await;
            done.map_err(std::io::Error::other).and_then(|done| done).map_err(failed("write", into))?;
            there.insert(one.pointer.id.clone());
            filled.push(one);
        }
        if !filled.is_empty() {
            tracing::info!("{} files came from Git LFS", filled.len());
        }
        if !missing.is_empty() {
            let next = match is_hosted {
                true => "push them: `git lfs push --all REMOTE`",
                false => "see that the forge has them and lets this host read them",
            };
            tracing::warn!(
                "these files are pointers of Git LFS, and what they stand for is not there; the image gets the pointers: {}; {next}",
                named(missing.iter().map(|one| one.path.as_path()))
            );
        }
        // What a forge has is fetched again where it is wanted again.
        if !is_hosted {
            self.keep_objects(service, there).await?;
        }
        Ok(())
    }

    /// Removes the service's large files but for these.
    async fn keep_objects(&self, service: &ServiceName, kept: HashSet<LfsId>) -> Result<(), GitError> {
        let folder = self.folder(service).join("lfs/objects");
        let remove = {
            let folder = folder.clone();
            move || -> std::io::Result<()> {
                for first in std::fs::read_dir(&folder)? {
                    for second in std::fs::read_dir(first?.path())? {
                        for file in std::fs::read_dir(second?.path())? {
                            let file = file?;
                            let name = file.file_name();
                            if !name
                                .to_str()
                                .and_then(|name| name.parse().ok())
                                .is_some_and(|id: LfsId| kept.contains(&id))
                            {
                                std::fs::remove_file(file.path())?;
                            }
                        }
                    }
                }
                Ok(())
            }
        };
        match tokio::task::spawn_blocking(remove).await.map_err(std::io::Error::other).and_then(|removed| removed) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("remove what lies below", &folder)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a file of the checkout is of `part`, and of none that lies within it.
fn is_of(parts: &[Part], part: &Part, path: &Path) -> bool {
    let deepest =
        parts.iter().filter(|part| path.starts_with(&part.place)).max_by_key(|part| part.place.components().count());
    deepest.is_some_and(|deepest| deepest.place == part.place)
}

/// Each of them once.
pub(super) fn each<'a>(pointers: &[&'a LfsPointer]) -> Vec<&'a LfsPointer> {
    let mut seen = BTreeSet::new();
    pointers.iter().copied().filter(|pointer| seen.insert(&pointer.id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_found_and_replaced_in_their_modes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n", "4d".repeat(32));
        std::fs::create_dir(at("a")).unwrap();
        std::fs::write(at("a/large"), &pointer).unwrap();
        std::fs::set_permissions(at("a/large"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(at("text"), "version https://git-lfs.github.com/spec/v1\n".repeat(4)).unwrap();
        std::os::unix::fs::symlink(at("a/large"), at("link")).unwrap();
        std::os::unix::fs::symlink("/", at("root")).unwrap();
        let mut found = Vec::new();
        find(folder.path(), Path::new(""), &mut found).unwrap();
        assert_eq!(found.iter().map(|one| one.path.to_str().unwrap()).collect::<Vec<_>>(), ["a/large"]);
        std::fs::write(at("object"), "hello").unwrap();
        replace(&at("object"), &at("a/large")).unwrap();
        assert_eq!(std::fs::read_to_string(at("a/large")).unwrap(), "hello");
        assert_eq!(std::fs::metadata(at("a/large")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(std::fs::read_dir(at("a")).unwrap().count(), 1);
    }

    #[test]
    fn few_files_are_named() {
        let paths: Vec<PathBuf> = (0..12).map(|n| format!("f{n}\x1b").into()).collect();
        let text = named(paths.iter().map(PathBuf::as_path));
        assert!(text.starts_with("`f0") && text.ends_with(" and 2 more") && !text.contains('\x1b'), "{text}");
    }
}
