//! Why a build could not be carried out, and what programs say that it runs.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};

use thiserror::Error;

/// Why a build could not be carried out, apart from what its own steps do.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Its plan can't be read.
    #[error("can't read the plan of the build, `{path}`")]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system refused something.
    #[error("can't {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A program that a build needs failed.
    #[error("can't {what}: {said}")]
    Program {
        /// What it was to do.
        what: &'static str,
        /// The last that it said.
        said: String,
    },
    /// What was handed over is not the image that was built.
    #[error("the build's image is not taken over: {0}")]
    Image(&'static str),
}

pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> SandboxError {
    move |source| SandboxError::System { what, source }
}

/// Says something in the build's log. Where nobody reads it, the build goes on.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The status of a program as a shell has it.
pub(super) fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Runs a program to its end, for what it says on its output.
pub(super) fn output(command: &mut Command, what: &'static str) -> Result<Vec<u8>, SandboxError> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().map_err(system(what))?;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr).trim().lines().last().unwrap_or_default().to_owned();
    Err(SandboxError::Program { what, said: if said.is_empty() { status.to_string() } else { said } })
}
