//! The command line.

mod client;
mod doctor;
mod enroll;
mod life;
mod logs;
mod services;
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
use jiff::{Span, SpanRelativeTo, Timestamp};

use client::Agent;
use verbs::Verb;

use crate::config::{Config, DEFAULT_PATH};
use crate::names::SessionId;
use crate::problem::chain;
use crate::{agent, git, terminal};

/// Makes one Linux server a place where `git push` runs a service
///
/// On the host itself the commands talk to the agent's socket, as root or as one of the group podkeeper. From another
/// machine they take --host and a token, which `podkeeper token create` makes on the host.
#[derive(Debug, Parser)]
#[command(name = "podkeeper", version, propagate_version = true)]
struct Arguments {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", env = "PODKEEPER_CONFIG", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// The agent of another machine, such as `https://podkeeper.example.com`
    #[arg(long, global = true, value_name = "URL", env = "PODKEEPER_HOST")]
    host: Option<String>,
    /// A file with the token for --host; without it the token is in PODKEEPER_TOKEN
    #[arg(long, global = true, value_name = "FILE", env = "PODKEEPER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON: one object, or one a line where there is no end
    #[arg(long, global = true)]
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
    /// Who did what on this host
    #[command(subcommand)]
    Audit(AuditCommand),
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
    /// What git runs after a push
    #[command(subcommand, hide = true)]
    Hook(HookCommand),
    /// What ends the processes of terminal sessions
    #[command(hide = true)]
    Reap {
        /// The sessions
        sessions: Vec<SessionId>,
    },
    /// What git asks for a password
    #[command(hide = true)]
    Askpass {
        /// Git's question
        question: String,
    },
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
        #[arg(long, value_name = "WHEN", value_parser = moment)]
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

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Tell whether a row of the audit log is missing or was changed
    Verify,
}

#[derive(Debug, Subcommand)]
enum HookCommand {
    /// Tell the agent what a push has moved
    PostReceive,
}

type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match carry_out(arguments) {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "podkeeper: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn carry_out(arguments: Arguments) -> Outcome {
    let json = arguments.json;
    let find = || -> Result<Agent, Box<dyn std::error::Error>> {
        let local = match arguments.host {
            Some(_) => PathBuf::new(),
            None => Config::load(&arguments.config, true)?.listen.local,
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
            writeln!(std::io::stdout(), "{} is good", file.display())?;
        }
        Command::Enroll => client::block_on(enroll::run(&find()?, json))?,
        Command::Ask(verb) => return client::block_on(verb.run(&find()?, json)),
        Command::Token(command) => client::block_on(token(&find()?, command, json))?,
        Command::Audit(AuditCommand::Verify) => return client::block_on(audit_verify(&find()?, json)),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "podkeeper", &mut std::io::stdout());
        }
        Command::Man { folder } => clap_mangen::generate_to(Arguments::command(), folder)?,
        Command::Doctor => return doctor::run(&Config::load(&arguments.config, true)?, json),
        Command::Hook(HookCommand::PostReceive) => git::hook::run()?,
        Command::Reap { sessions } => {
            let left = terminal::reap(&sessions);
            if left > 0 {
                return Err(format!("{left} processes can't be ended").into());
            }
        }
        Command::Askpass { question } => git::askpass(&question)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn token(agent: &Agent, command: TokenCommand, json: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout();
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
            for token in answer["tokens"].as_array().into_iter().flatten() {
                let text = |key: &str, none| token[key].as_str().unwrap_or(none).to_owned();
                let (name, scope, service) = (text("name", ""), text("scope", ""), text("service", "all services"));
                let (ends, used) = (text("expires", "never"), text("last_used", "never"));
                writeln!(out, "{name}\t{scope}\t{service}\tends {ends}\tlast used {used}")?;
            }
        }
        TokenCommand::Remove { name } => {
            let path = format!("/credentials/tokens/{}", client::segment(&name));
            agent.call(http::Method::DELETE, &path, None).await?;
        }
    }
    Ok(())
}

/// A length of time from now on, or a day, at whose beginning (UTC) it is.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(span) = text.parse::<Span>() {
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
        return Timestamp::now().checked_add(length).map_err(|error| error.to_string());
    }
    let day = || format!("{text}T00:00:00Z").parse();
    text.parse().or_else(|_| day()).map_err(|_| "neither a length of time, such as 90d, nor a day".to_owned())
}

async fn audit_verify(agent: &Agent, json: bool) -> Outcome {
    let answer = agent.call(http::Method::GET, "/audit/verify", None).await?;
    let whole = answer["whole"] == true;
    if json {
        writeln!(std::io::stdout(), "{answer}")?;
        return Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if whole {
        let head = answer["head"].as_str().unwrap_or("none");
        writeln!(std::io::stdout(), "the audit log is whole: {} rows, the last hash is {head}", answer["rows"])?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(std::io::stderr(), "podkeeper: the audit log was changed at row {}", answer["broken_at"])?;
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_token_ends() {
        let now = Timestamp::now();
        let hours = |text: &str| moment(text).unwrap().duration_since(now).as_secs() / 3600;
        assert_eq!((hours("90d"), hours("12h"), hours("2 weeks")), (2160, 12, 336));
        assert_eq!(moment("2040-06-30").unwrap().to_string(), "2040-06-30T00:00:00Z");
        assert!(moment("2040-06-30T12:00:00+02:00").is_ok());
        for bad in ["", "soon", "90", "2040-13-01", "1 year"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
