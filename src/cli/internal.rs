//! What the agent, git and the build units run of this program. Nobody types these.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::options::Outcome;
use crate::names::{ServiceName, SessionId};
use crate::{git, journal, podman, sandbox, terminal};

/// The commands that the help doesn't list.
#[derive(Debug, Subcommand)]
pub enum Internal {
    /// What git runs after a push: tell the agent what it has moved
    #[command(hide = true)]
    PostReceive,
    /// What ends the processes of terminal sessions
    #[command(hide = true)]
    Reap {
        /// The sessions
        sessions: Vec<SessionId>,
    },
    /// What builds run in: a program, until journald has read what it prints
    #[command(hide = true)]
    UntilRead {
        /// For how long at most, in milliseconds
        patience: u64,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// What a health check's unit runs: Podman, which runs the check, as long as that keeps within its bounds
    #[command(hide = true)]
    HealthCheck {
        /// For how long the check may run, in seconds
        time: u64,
        /// Podman and its arguments
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// What a build runs as root of the user namespace
    #[command(hide = true)]
    BuildUnit {
        /// Its plan
        plan: PathBuf,
    },
    /// What a build runs in namespaces of its own
    #[command(hide = true)]
    BuildInside {
        /// Its plan
        plan: PathBuf,
    },
    /// What removes builds' caches, as root of the user namespace
    #[command(hide = true)]
    BuildTidy {
        /// The folder of them
        #[arg(long)]
        cache: PathBuf,
        /// How much is kept, in MiB
        #[arg(long)]
        most: u64,
        /// How much of the disk is to be free, in MiB
        #[arg(long)]
        free: u64,
        /// How long one is kept, in seconds
        #[arg(long)]
        age: u64,
        /// All services
        services: Vec<ServiceName>,
    },
    /// What looks at what listens in a container's network namespace
    #[command(hide = true)]
    Listening {
        /// A process of the container
        pid: u32,
        /// The file that it is written to
        #[arg(long)]
        into: PathBuf,
    },
    /// What measures builds' caches and repositories, as root of the user namespace
    #[command(hide = true)]
    Measure {
        /// The folder of the caches
        #[arg(long)]
        cache: PathBuf,
        /// The folder of the repositories
        #[arg(long)]
        repositories: PathBuf,
        /// The file that it is written to
        #[arg(long)]
        into: PathBuf,
    },
}

impl Internal {
    /// Does it.
    pub fn run(self) -> Outcome {
        match self {
            Self::PostReceive => git::hook::run()?,
            Self::Reap { sessions } => {
                let left = terminal::reap(&sessions);
                if left > 0 {
                    return Err(
                        format!("{left} processes of terminal sessions can't be ended; they are tried again").into()
                    );
                }
            }
            Self::UntilRead { patience, program } => {
                return Ok(journal::until_read(&program, Duration::from_millis(patience))?.into());
            }
            Self::HealthCheck { time, program } => {
                if let Some(why) = podman::run_check(&program, Duration::from_secs(time))? {
                    writeln!(super::show::err(), "{why}")?;
                }
            }
            Self::BuildUnit { plan } => return Ok(sandbox::build(&plan)?.into()),
            Self::BuildInside { plan } => return Ok(sandbox::build_inside(&plan)?.into()),
            Self::Listening { pid, into } => podman::tell_listening(pid, &into)?,
            Self::Measure { cache, repositories, into } => sandbox::measure(&cache, &repositories, &into)?,
            Self::BuildTidy { cache, most, free, age, services } => {
                let bytes = |mib: u64| mib.saturating_mul(1024 * 1024);
                let age = Duration::from_secs(age);
                sandbox::tidy(&cache, &services, sandbox::Bounds { most: bytes(most), age, free: bytes(free) })?;
            }
        }
        Ok(std::process::ExitCode::SUCCESS)
    }
}
