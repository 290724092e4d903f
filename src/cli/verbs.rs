//! The commands that ask the agent, here or on another machine.

use std::path::PathBuf;

use clap::Subcommand;

use super::client::Agent;
use super::{Outcome, life, logs, services, shell};

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
    /// Make a service, and print the address that its repository is pushed to
    Create {
        /// What it shall be called: it answers at NAME.localhost, or as the configuration says
        name: String,
        /// What its repository begins with; `podkeeper templates` lists them
        #[arg(long, default_value = "empty", conflicts_with = "from")]
        template: String,
        /// A repository elsewhere instead, such as `https://example.org/site.git`; `podkeeper deploy` fetches and builds it
        #[arg(long, value_name = "URI")]
        from: Option<String>,
        /// The branch that is built
        #[arg(long)]
        branch: Option<String>,
    },
    /// List the templates
    Templates,
    /// Print a service's log lines
    Logs(logs::Lines),
    /// A terminal: in a service's container, or in a container of its own. Ctrl-] leaves it without ending it
    Shell(shell::Which),
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
    /// Stop a service; it stays stopped over a reboot
    Stop {
        /// The service
        name: String,
    },
    /// Remove a service with its repository and releases; what its volumes hold is kept
    Remove {
        /// The service
        name: String,
        /// Remove its volumes and what they hold, too
        #[arg(long)]
        volumes: bool,
        /// Don't ask
        #[arg(short, long)]
        yes: bool,
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
            Self::Create { name, template, from, branch } => {
                let source = match from {
                    Some(uri) => ("external", uri),
                    None => ("template", template),
                };
                life::create(agent, &name, source, branch, json).await
            }
            Self::Templates => life::templates(agent, json).await,
            Self::Stop { name } => life::stop(agent, &name, json).await,
            Self::Remove { name, volumes, yes } => life::remove(agent, &name, volumes, yes, json).await,
            Self::Logs(lines) => logs::run(agent, &lines, json).await,
            Self::Shell(which) => shell::run(agent, &which, json).await,
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
