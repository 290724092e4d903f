//! Where things lie in the build's place.

use std::path::{Path, PathBuf};

/// Where all of it lies that the build has, by the standard an empty folder of every Linux (FHS 3.0, 3.12).
pub(super) const PLACE: &str = "/mnt";

/// A path in the build's place.
pub(super) fn place(name: &str) -> PathBuf {
    Path::new(PLACE).join(name)
}
