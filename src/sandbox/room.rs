//! How much room the disk has: for bytes and for files.

use std::path::Path;

use super::error::{SandboxError, system};

/// With room for fewer files than this there is room for nothing: a base image has some thousands.
const FILES: u64 = 20_000;

/// How many bytes the disk below `folder` has room for.
pub fn room(folder: &Path) -> Result<u64, SandboxError> {
    let disk = nix::sys::statvfs::statvfs(folder).map_err(|error| system("measure the disk")(error.into()))?;
    // Some file systems have no number of files.
    if disk.files() > 0 && disk.files_available() < FILES {
        return Ok(0);
    }
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}
