//! The command line.

mod audit;
mod client;
mod deploy;
mod deployments;
mod doctor;
mod enroll;
mod env;
mod events;
mod hook;
mod host;
mod inotify;
mod input;
mod internal;
mod life;
mod logs;
mod moments;
mod pages;
mod prompt;
mod registry;
mod services;
mod settings;
mod shell;
mod show;
mod socket;
mod tls;
mod verbs;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, Parser, Subcommand};
use jiff::Timestamp;

use client::Agent;
use verbs::Verb;

use crate::agent;
use crate::config::{Config, DEFAULT_PATH};
use crate::problem::words;

/// What every command takes stands apart from its own options.
const GLOBAL: &str = "Options of every command";

/// Makes one Linux server a place where `git push` runs a service
///
/// On the host itself the commands talk to the agent's socket, as root or as one of the group podkeeper. From another
/// machine they take --host and a token, which `podkeeper token create` makes on the host.
#[derive(Debug, Parser)]
#[command(name = "podkeeper", version, propagate_version = true)]
struct Arguments {
    /// The configuration
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE", env = "PODKEEPER_CONFIG", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// The agent of another machine, such as `https://podkeeper.example.com`
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "URL", env = "PODKEEPER_HOST")]
    host: Option<String>,
    /// A file with the token for --host; without it the token is in PODKEEPER_TOKEN
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE", env = "PODKEEPER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON: one object, or one a line where there is no end
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Ask(Verb),
    /// Run the agent; podkeeper.service does
    Agent,
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a link that registers a passkey, good once and for ten minutes; also where all passkeys are lost
    Enroll,
    /// API tokens: for signing in, for git, and for programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// Logins at image registries, for the private images that builds begin with
    #[command(subcommand)]
    Registry(registry::RegistryCommand),
    /// Who did what on this host
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Tell how the host is: its disk and memory, versions, what takes the disk, and what the agent could not do
    Host,
    /// Tell what is wrong with this host, and the next step
    Doctor,
    /// Print what completes these commands in a shell
    #[command(hide = true)]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        folder: PathBuf,
    },
    #[command(flatten)]
    Internal(internal::Internal),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Tell whether the configuration is good
    Check {
        /// Another file than the configured one
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it, this once
    Create {
        /// What you call it
        #[arg(long)]
        name: String,
        /// What it may do; each holds the ones before it
        #[arg(long, default_value = "admin", value_parser = PossibleValuesParser::new(["read", "deploy", "admin"]))]
        scope: String,
        /// The one service that it is for
        #[arg(long)]
        service: Option<String>,
        /// When it ends: in so long, such as 90d, or on a day, such as 2027-06-30
        #[arg(long, value_name = "WHEN", value_parser = moments::future)]
        expires: Option<Timestamp>,
    },
    /// List the tokens
    List,
    /// Remove a token and end the sessions that it signed in
    Remove {
        /// Its name
        name: String,
    },
}

type Failure = Box<dyn std::error::Error>;
type Outcome = Result<ExitCode, Failure>;

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match carry_out(arguments) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(show::err(), "podkeeper: {}", words(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn carry_out(arguments: Arguments) -> Outcome {
    let json = arguments.json;
    let find = || -> Result<Agent, Failure> {
        let local = match arguments.host {
            Some(_) => PathBuf::new(),
            None => Config::load(&arguments.config, true)?.listen.local.into(),
        };
        Ok(Agent::find(&local, arguments.host.as_deref(), arguments.token_file.as_deref())?)
    };
    match arguments.command {
        Command::Agent => agent::run(&arguments.config)?,
        Command::Config(ConfigCommand::Check { file }) => {
            // The agent does without the file, too; one that is named must be there.
            let optional = file.is_none();
            let file = file.unwrap_or(arguments.config);
            Config::load(&file, optional)?;
            writeln!(show::out(), "{} is good", file.display())?;
        }
        Command::Enroll => client::block_on(enroll::run(&find()?, json))?,
        Command::Ask(verb) => return client::block_on(verb.run(&find()?, json)),
        Command::Token(command) => client::block_on(token(&find()?, command, json))?,
        Command::Registry(command) => return client::block_on(command.run(&find()?, json)),
        Command::Audit(command) => return client::block_on(audit::run(&find()?, command, json)),
        Command::Host => return client::block_on(host::run(&find()?, json)),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "podkeeper", &mut show::out());
        }
        Command::Man { folder } => clap_mangen::generate_to(Arguments::command(), folder)?,
        Command::Doctor if arguments.host.is_some() => {
            return Err("doctor looks at the machine that it runs on\nnext: run it on the host, without --host".into());
        }
        Command::Doctor => return doctor::run(&Config::load(&arguments.config, true)?, json),
        Command::Internal(command) => return command.run(),
    }
    Ok(ExitCode::SUCCESS)
}

async fn token(agent: &Agent, command: TokenCommand, json: bool) -> Result<(), Failure> {
    let mut out = show::out();
    match command {
        TokenCommand::Create { name, scope, service, expires } => {
            let body = serde_json::json!({ "name": name, "scope": scope, "service": service, "expires": expires });
            let answer = agent.call(http::Method::POST, "/credentials/tokens", Some(&body)).await?;
            let text = answer["token"].as_str().unwrap_or_default().to_owned();
            writeln!(out, "{}", if json { answer.to_string() } else { text })?;
        }
        TokenCommand::List => {
            let answer = agent.call(http::Method::GET, "/credentials/tokens", None).await?;
            if json {
                writeln!(out, "{answer}")?;
                return Ok(());
            }
            let now = Timestamp::now();
            let row = |token: &serde_json::Value| {
                vec![
                    show::cell(&token["name"]),
                    show::cell(&token["scope"]),
                    show::cell(&token["service"]),
                    show::cell(&token["expires"]),
                    show::ago(&token["last_used"], now),
                ]
            };
            let rows: Vec<_> = answer["tokens"].as_array().into_iter().flatten().map(row).collect();
            show::table(&mut out, &["NAME", "SCOPE", "SERVICE", "ENDS", "USED"], &rows, show::colours())?;
        }
        TokenCommand::Remove { name } => {
            let path = format!("/credentials/tokens/{}", client::segment(&name));
            agent.call(http::Method::DELETE, &path, None).await?;
        }
    }
    Ok(())
}
