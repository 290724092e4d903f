//! The disk.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::finding::{Finding, Level, good, wrong};

/// Less free disk than this is worth a word, in MiB.
const FREE: u64 = 1024;
/// Room for fewer files than this, too: an image has some thousands.
const FILES: u64 = 20_000;

/// Whether there is room on it.
pub(super) fn disk(state: &Path) -> Finding {
    match statvfs(state) {
        Ok(stat) => {
            let free = stat.blocks_available().saturating_mul(stat.fragment_size()) / (1024 * 1024);
            // Some file systems count none.
            let files = Some(stat.files_available()).filter(|_| stat.files() > 0);
            if let Some(files) = files.filter(|files| *files < FILES) {
                let next = "remove services that nobody uses, or lower `services.keep`";
                wrong("disk", Level::Warn, format!("only {files} more files can be made"), next)
            } else if free >= FREE {
                good("disk", format!("{free} MiB are free"))
            } else {
                let next = "remove services that nobody uses, or lower `services.keep`";
                wrong("disk", Level::Warn, format!("only {free} MiB are free"), next)
            }
        }
        Err(error) => wrong(
            "disk",
            Level::Bad,
            format!("{} can't be looked at: {error}", state.display()),
            "apt install --reinstall podkeeper-host",
        ),
    }
}
