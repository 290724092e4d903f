//! The commands that ask the agent, here or on another machine.

use std::path::PathBuf;

use clap::Subcommand;

use super::client::Agent;
use super::{Outcome, logs, services};

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the services
    Ps,
    /// Tell how the services are
    Status {
        /// Only this one
        name: Option<String>,
        /// Go on with each change
        #[arg(short, long)]
        watch: bool,
    },
    /// Print a service's log lines
    Logs(logs::Lines),
    /// Build the newest commit of a service and start it, and show how it goes
    Deploy {
        /// The service
        name: String,
        /// Start the same image anew, without a build
        #[arg(long)]
        quick: bool,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Bring an earlier release back, with its environment
    Rollback {
        /// The service
        name: String,
        /// The release; without it the one before
        release: Option<u32>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Print or change a service's environment; a running service is started anew with it
    Env {
        /// The service
        name: String,
        /// What to set. Secrets are better read from a file: other users of this machine can read a command line
        #[arg(value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// What to remove
        #[arg(long, value_name = "KEY")]
        remove: Vec<String>,
        /// A file of KEY=VALUE lines to set; - is standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Leave the service as it is until its next release
        #[arg(long)]
        no_restart: bool,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Print the address of a service, and open it where there is a browser
    Open {
        /// The service
        name: String,
    },
}

/// Whether a deployment is followed to its end.
#[derive(Debug, clap::Args)]
pub struct Waiting {
    /// Don't wait for its end
    #[arg(long)]
    no_wait: bool,
}

impl Verb {
    /// Asks it.
    pub async fn run(self, agent: &Agent, json: bool) -> Outcome {
        match self {
            Self::Ps => services::ps(agent, json).await,
            Self::Status { name, watch } => services::status(agent, name.as_deref(), watch, json).await,
            Self::Logs(lines) => logs::run(agent, &lines, json).await,
            Self::Deploy { name, quick, waiting } => {
                services::deploy(agent, &name, quick, !waiting.no_wait, json).await
            }
            Self::Rollback { name, release, waiting } => {
                services::rollback(agent, &name, release, !waiting.no_wait, json).await
            }
            Self::Env { name, set, remove, file, no_restart, waiting } => {
                let changes = services::Changes { set, remove, file, no_restart };
                services::env(agent, &name, changes, !waiting.no_wait, json).await
            }
            Self::Open { name } => services::open(agent, &name, json).await,
        }
    }
}
