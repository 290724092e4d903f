//! The list of the commands.

use clap::Subcommand;

use super::options::{Options, Outcome};
use super::{
    agent, audit, completion, config, create, deploy, deploy_key, deployments, doctor, enroll, env, hook, host,
    host_key, internal, lines, logs, man, open, ps, recipe, registry, remove, restart, rollback, settings, shell,
    source, status, stop, templates, token,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the services, with how each one's last deployment went
    Ps,
    /// Tell how the services are
    Status(status::Args),
    /// Make a service, and print what to do next: where to push, or what a forge's webhook takes
    Create(create::New),
    /// List the templates
    Templates,
    /// Print a service's log lines, each with its time in UTC
    Logs(lines::Lines),
    /// A terminal: in a service's container, or in a container of its own. Ctrl-] leaves it without ending it
    Shell(shell::Which),
    /// Build the newest commit of a service and start it, and show how it goes
    #[command(visible_alias = "start")]
    Deploy(deploy::Args),
    /// Start a service anew beside what runs, without a build; the same as `deploy --quick`
    Restart(restart::Args),
    /// Bring an earlier release back, with its environment
    Rollback(rollback::Args),
    /// List a service's deployments, the newest first, and which releases a rollback may name
    Deployments(deployments::Args),
    /// Stop a service; it stays stopped over a reboot, until `deploy` starts it
    Stop(stop::Args),
    /// Remove a service with its repository and releases; what its volumes hold is kept
    Remove(remove::Args),
    /// Print or change a service's environment; a running service is started anew with it
    Env(env::Args),
    /// Print or change how a service is set: its branch, port, health, limits, domains, volumes, and releases kept
    Settings(settings::Args),
    /// Print what a forge's webhook takes, and what it has delivered; or give it another key
    Hook(hook::Args),
    /// Print the key that reads a service's repository over ssh, to be added at the forge
    DeployKey(deploy_key::Args),
    /// Print or change where a service's code comes from: the repository's address, and the password that reads it
    Source(source::Args),
    /// Print the ssh keys of the host where a service's repository is, or take another that it has now
    HostKey(host_key::Args),
    /// Print the address of a service, and open it where there is a browser
    Open(open::Args),
    /// Print the Containerfile that a repository without one is built by; it is of the folder that you stand in
    Recipe(recipe::Args),
    /// Run the agent; podkeeper.service does
    Agent,
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Print a link that registers a passkey, good once and for ten minutes; also where all passkeys are lost
    Enroll,
    /// API tokens: for signing in, for git, and for programs; `token list`, unless another is named
    Token(token::Args),
    /// Logins at image registries, for the private images that builds begin with; `registry list`, unless another is named
    Registry(registry::Args),
    /// Who did what on this host: `audit list`, unless another is named
    Audit(audit::Args),
    /// Tell how the host is: its disk and memory, versions, what takes the disk, and what the agent could not do
    Host,
    /// Tell what is wrong with this host, and the next step
    Doctor,
    /// Print what completes these commands in a shell
    #[command(hide = true)]
    Completion(completion::Args),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(man::Args),
    #[command(flatten)]
    Internal(internal::Internal),
}

impl Command {
    /// Carries it out; `program` is the whole command line.
    pub(super) fn run(self, options: &Options, program: clap::Command) -> Outcome {
        let json = options.json;
        match self {
            Self::Ps => options.ask(async |agent| ps::run(agent, json).await),
            Self::Status(wanted) => options.ask(async |agent| status::run(agent, &wanted, json).await),
            Self::Create(new) => options.ask(async |agent| create::run(agent, &new, json).await),
            Self::Templates => options.ask(async |agent| templates::run(agent, json).await),
            Self::Logs(lines) => options.ask(async |agent| logs::run(agent, &lines, json).await),
            Self::Shell(which) => options.ask(async |agent| shell::run(agent, &which, json).await),
            Self::Deploy(wanted) => options.ask(async |agent| deploy::run(agent, &wanted, json).await),
            Self::Restart(wanted) => options.ask(async |agent| restart::run(agent, &wanted, json).await),
            Self::Rollback(wanted) => options.ask(async |agent| rollback::run(agent, &wanted, json).await),
            Self::Deployments(wanted) => options.ask(async |agent| deployments::run(agent, &wanted, json).await),
            Self::Stop(wanted) => options.ask(async |agent| stop::run(agent, &wanted, json).await),
            Self::Remove(wanted) => options.ask(async |agent| remove::run(agent, &wanted, json).await),
            Self::Env(wanted) => options.ask(async |agent| env::run(agent, &wanted, json).await),
            Self::Settings(wanted) => options.ask(async |agent| settings::run(agent, &wanted, json).await),
            Self::Hook(wanted) => options.ask(async |agent| hook::run(agent, &wanted, json).await),
            Self::DeployKey(wanted) => options.ask(async |agent| deploy_key::run(agent, &wanted, json).await),
            Self::Source(wanted) => options.ask(async |agent| source::run(agent, &wanted, json).await),
            Self::HostKey(wanted) => options.ask(async |agent| host_key::run(agent, &wanted, json).await),
            Self::Open(wanted) => options.ask(async |agent| open::run(agent, &wanted, json).await),
            Self::Recipe(wanted) => recipe::run(&wanted, json),
            Self::Agent => agent::run(options),
            Self::Config(command) => command.run(options),
            Self::Enroll => {
                options.must_be_local("enroll")?;
                options.ask(async |agent| enroll::run(agent, json).await)
            }
            Self::Token(command) => options.ask(async |agent| command.run(agent, json).await),
            Self::Registry(command) => options.ask(async |agent| command.run(agent, json).await),
            Self::Audit(command) => options.ask(async |agent| command.run(agent, json).await),
            Self::Host => options.ask(async |agent| host::run(agent, json).await),
            Self::Doctor => doctor::run(options),
            Self::Completion(wanted) => completion::run(&wanted, program),
            Self::Man(wanted) => man::run(&wanted, program),
            Self::Internal(command) => command.run(),
        }
    }
}
