//! The files of a repository, as a recipe asks for them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// More than a file has that tells how a program is built, in bytes. Of a longer one nothing is known.
const MOST: u64 = 512 * 1024;

/// The files below a folder. A link doesn't count as one: it may lead out of the repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a>(pub(super) &'a Path);

impl Files<'_> {
    /// Whether there is this file.
    pub(super) fn has(self, name: &str) -> bool {
        std::fs::symlink_metadata(self.0.join(name)).is_ok_and(|metadata| metadata.is_file())
    }

    /// The first of these that is there.
    pub(super) fn first<'n>(self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.has(name))
    }

    /// What it holds; none where it isn't there, is too long, or is no text.
    pub(super) fn text(self, name: &str) -> Option<String> {
        if !self.has(name) {
            return None;
        }
        let mut text = String::new();
        File::open(self.0.join(name)).ok()?.take(MOST + 1).read_to_string(&mut text).ok()?;
        (text.len() as u64 <= MOST).then_some(text)
    }
}
