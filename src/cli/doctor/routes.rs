//! The folder of routes.

use std::path::Path;

use super::finding::{Finding, Level, good, wrong};
use super::host::USER;

/// The agent writes the routing table, and the proxy, which is another user, reads it.
pub(super) fn routes(folder: &Path, uid: u32) -> Finding {
    use std::os::unix::fs::MetadataExt;
    // The agent keeps the folder that was there when it started.
    let next = "systemd-tmpfiles --create podkeeper.conf && systemctl restart podkeeper";
    let bad = |detail: String| wrong("routes", Level::Bad, detail, next);
    match std::fs::metadata(folder) {
        Err(error) => bad(format!("{} can't be looked at: {error}", folder.display())),
        Ok(found) if found.uid() != uid => bad(format!("{} is not {USER}'s, which can't change it", folder.display())),
        Ok(found) if found.mode() & 0o5 != 0o5 => bad(format!("the proxy can't read {}", folder.display())),
        Ok(_) => good("routes", "the agent writes them, and the proxy reads them"),
    }
}
