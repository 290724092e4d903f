//! What a build runs in: a place of its own that holds nothing of the host, of the agent and of other services.
//!
//! `build-ID.service` runs three programs, each in what the one before has made:
//!
//! 1. [`build`], as root of the service user's own user namespace, which `podman unshare` enters. It makes the folders, the
//!    network and the namespaces, and takes the image over when all of the build has ended.
//! 2. [`build_inside`], the first process of those namespaces: it shows the build the commit's files and the service's
//!    cache, and hides the host's folders.
//! 3. `buildah`, in a user namespace of the service's ids. It fetches bases and runs the steps; neither has another network
//!    than the one that was made here.
//!
//! So whoever gets out of a step's container has the ids of the one service, whose files are all that they open. The image
//! goes to Podman as files in a folder (containers-transports(5), `dir:`), which are looked at before Podman reads them.

mod addresses;
mod folders;
mod hand_over;
mod inside;
mod measure;
mod network;
mod outside;
mod place;
mod plan;
mod room;
mod settings;
mod talk;
mod tidy;

use std::fmt::Display;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};

use thiserror::Error;

pub use addresses::HostAddresses;
pub use inside::build_inside;
pub use measure::{Measured, measure};
pub use outside::build;
pub use plan::{Instructions, Plan};
pub use room::room;
pub use tidy::{Bounds, tidy};

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

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> SandboxError {
    move |source| SandboxError::System { what, source }
}

/// Says something in the build's log. Where nobody reads it, the build goes on.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The status of a program as a shell has it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Runs a program to its end, for what it says on its output.
fn output(command: &mut Command, what: &'static str) -> Result<Vec<u8>, SandboxError> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().map_err(system(what))?;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr).trim().lines().last().unwrap_or_default().to_owned();
    Err(SandboxError::Program { what, said: if said.is_empty() { status.to_string() } else { said } })
}
