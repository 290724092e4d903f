//! The commands that ask the agent, here or on another machine.

use clap::Subcommand;

use super::client::Agent;
use super::deploy::Waiting;
use super::{Outcome, deploy, deployments, env, hook, life, logs, services, settings, shell};

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the services, with how each one's last deployment went
    Ps,
    /// Tell how the services are
    Status {
        /// Only this one
        name: Option<String>,
        /// Go on with each change
        #[arg(short, long)]
        watch: bool,
    },
    /// Make a service, and print what to do next: where to push, or what a forge's webhook takes
    Create(life::New),
    /// List the templates
    Templates,
    /// Print a service's log lines, each with its time in UTC
    Logs(logs::Lines),
    /// A terminal: in a service's container, or in a container of its own. Ctrl-] leaves it without ending it
    Shell(shell::Which),
    /// Build the newest commit of a service and start it, and show how it goes
    #[command(visible_alias = "start")]
    Deploy {
        /// The service
        name: String,
        /// Start the same image anew, without a build
        #[arg(long)]
        quick: bool,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Start a service anew beside what runs, without a build; the same as `deploy --quick`
    Restart {
        /// The service
        name: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Bring an earlier release back, with its environment
    Rollback {
        /// The service
        name: String,
        /// The release; without it the one before, and called again the one before that
        release: Option<u32>,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// List a service's deployments, the newest first, and which releases a rollback may name
    Deployments(deployments::Wanted),
    /// Stop a service; it stays stopped over a reboot, until `deploy` starts it
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
    Env(env::Wanted),
    /// Print or change how a service is set: its branch, port, health, limits, domains, volumes, and releases kept
    Settings(settings::Wanted),
    /// Print what a forge's webhook takes, and what it has delivered; or give it another key
    Hook(hook::Wanted),
    /// Print the key that reads a service's repository over ssh, to be added at the forge
    DeployKey {
        /// The service
        name: String,
    },
    /// Print the address of a service, and open it where there is a browser
    Open {
        /// The service
        name: String,
    },
}

impl Verb {
    /// Asks it.
    pub async fn run(self, agent: &Agent, json: bool) -> Outcome {
        match self {
            Self::Ps => services::ps(agent, json).await,
            Self::Status { name, watch } => services::status(agent, name.as_deref(), watch, json).await,
            Self::Create(new) => life::create(agent, new, json).await,
            Self::Templates => life::templates(agent, json).await,
            Self::Stop { name } => life::stop(agent, &name, json).await,
            Self::Remove { name, volumes, yes } => life::remove(agent, &name, volumes, yes, json).await,
            Self::Logs(lines) => logs::run(agent, &lines, json).await,
            Self::Shell(which) => shell::run(agent, &which, json).await,
            Self::Deploy { name, quick, waiting } => deploy::deploy(agent, &name, quick, waiting, json).await,
            Self::Restart { name, waiting } => deploy::deploy(agent, &name, true, waiting, json).await,
            Self::Rollback { name, release, waiting } => deploy::rollback(agent, &name, release, waiting, json).await,
            Self::Env(wanted) => env::run(agent, wanted, json).await,
            Self::Deployments(wanted) => deployments::run(agent, &wanted, json).await,
            Self::Hook(wanted) => hook::run(agent, wanted, json).await,
            Self::DeployKey { name } => hook::deploy_key(agent, &name, json).await,
            Self::Settings(wanted) => settings::run(agent, &wanted, json).await,
            Self::Open { name } => services::open(agent, &name, json).await,
        }
    }
}
