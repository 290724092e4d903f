//! What several checks ask of this machine.

use std::process::{Command, Stdio};

/// The user that everything runs as.
pub(super) const USER: &str = "podkeeper";

/// What a program prints.
pub(super) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a socket lies there.
pub(super) fn is_socket(path: &str) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Whether a unit starts at boot.
pub(super) fn is_enabled(unit: &str) -> bool {
    output("systemctl", &["is-enabled", "--", unit]).is_some_and(|state| state == "enabled")
}
