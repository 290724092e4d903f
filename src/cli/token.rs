//! `podkeeper token`: API tokens.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show::{Cell, ago, cell, text};
use super::{moments, show, tables};
use crate::api::tokens::{CreatedToken, Token, Tokens};
use crate::names::Scope;

/// What is asked; without more, the list.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

impl Args {
    /// Asks it.
    pub async fn run(self, agent: &Agent, json: bool) -> Outcome {
        self.command.unwrap_or(Command::List).run(agent, json).await
    }
}

/// What is asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and print it, this once
    Create {
        /// What you call it
        #[arg(long)]
        name: String,
        /// What it may do; each holds the ones before it
        #[arg(long, default_value = "admin", value_parser = PossibleValuesParser::new(Scope::ALL.map(Scope::as_str)).try_map(|word| word.parse::<Scope>()))]
        scope: Scope,
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

impl Command {
    /// Asks it.
    pub async fn run(self, agent: &Agent, json: bool) -> Outcome {
        match self {
            Self::Create { name, scope, service, expires } => {
                let body = json!({ "name": name, "scope": scope, "service": service, "expires": expires });
                let answer = agent.call(Method::POST, "/credentials/tokens", Some(&body)).await?;
                if json {
                    answer.print()?;
                } else {
                    writeln!(show::out(), "{}", answer.read::<CreatedToken>()?.token)?;
                }
            }
            Self::List => list(agent, json).await?,
            Self::Remove { name } => {
                agent.call(Method::DELETE, &format!("/credentials/tokens/{}", segment(&name)), None).await?;
                show::done(json, &format!("the token {name} is removed"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(agent: &Agent, json: bool) -> Result<(), super::options::Failure> {
    let answer = agent.get("/credentials/tokens").await?;
    if json {
        return Ok(answer.print()?);
    }
    let now = Timestamp::now();
    let row = |token: &Token| {
        vec![
            text(&token.name),
            text(token.scope.as_str()),
            cell(token.service.as_ref()),
            cell(token.expires),
            ago(token.last_used, now),
        ]
    };
    let rows: Vec<Vec<Cell>> = answer.read::<Tokens>()?.tokens.iter().map(row).collect();
    tables::list(
        &["NAME", "SCOPE", "SERVICE", "ENDS", "USED"],
        &rows,
        "there are no tokens; `podkeeper token create --name NAME` makes one",
    )?;
    Ok(())
}
