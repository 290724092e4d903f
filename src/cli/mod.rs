//! The command line.

mod client;
mod doctor;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, DEFAULT_PATH};
use crate::problem::chain;
use crate::{agent, git};

/// Makes one Linux server a place where `git push` runs a service.
#[derive(Debug, Parser)]
#[command(name = "podkeeper", version, about, propagate_version = true)]
struct Arguments {
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", env = "PODKEEPER_CONFIG", default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent; podkeeper.service does
    Agent,
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// API tokens: for signing in, for git, and for programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// Tell what is wrong with this host, and the next step
    Doctor {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// What git runs after a push
    #[command(subcommand, hide = true)]
    Hook(HookCommand),
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
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "podkeeper: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(arguments: Arguments) -> Outcome {
    match arguments.command {
        Command::Agent => agent::run(&arguments.config)?,
        Command::Config(ConfigCommand::Check { file }) => {
            // The agent does without the file, too; one that is named must be there.
            let optional = file.is_none();
            let file = file.unwrap_or(arguments.config);
            Config::load(&file, optional)?;
            writeln!(std::io::stdout(), "{} is good", file.display())?;
        }
        Command::Token(command) => token(&Config::load(&arguments.config, true)?, command)?,
        Command::Doctor { json } => return doctor::run(&Config::load(&arguments.config, true)?, json),
        Command::Hook(HookCommand::PostReceive) => git::hook::run()?,
        Command::Askpass { question } => git::askpass(&question)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn token(config: &Config, command: TokenCommand) -> Result<(), Box<dyn std::error::Error>> {
    let socket = &config.listen.local;
    let mut out = std::io::stdout();
    match command {
        TokenCommand::Create { name } => {
            let body = serde_json::json!({ "name": name });
            let answer = client::call(socket, http::Method::POST, "/internal/tokens", Some(&body))?;
            writeln!(out, "{}", answer["token"].as_str().unwrap_or_default())?;
        }
        TokenCommand::List => {
            let answer = client::call(socket, http::Method::GET, "/internal/tokens", None)?;
            for token in answer["tokens"].as_array().into_iter().flatten() {
                let text = |key: &str| token[key].as_str().unwrap_or("never").to_owned();
                writeln!(out, "{}\tmade {}\tlast used {}", text("name"), text("created"), text("last_used"))?;
            }
        }
        TokenCommand::Remove { name } => {
            let name = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
            client::call(socket, http::Method::DELETE, &format!("/internal/tokens/{name}"), None)?;
        }
    }
    Ok(())
}
