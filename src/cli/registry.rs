//! `podkeeper registry`: the logins that private images are fetched with.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use secrecy::ExposeSecret;
use serde_json::json;

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show::{Cell, text};
use super::{input, show, tables};
use crate::api::registries::RegistryLogins;

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
    /// List the registries with a login
    List,
    /// Log in at a registry, for the images that builds begin with. It is asked first, and a wrong login is not kept
    Login {
        /// The registry, as images' names begin with it, such as `registry.example.org:5000`
        registry: String,
        /// The user there
        #[arg(short, long)]
        username: String,
        /// A file with the password or token. Without it you are asked, or it is read from standard input
        #[arg(long, value_name = "FILE", default_value = "-", hide_default_value = true)]
        password_file: PathBuf,
    },
    /// Forget the login at a registry
    Logout {
        /// The registry
        registry: String,
    },
}

impl Command {
    /// Asks it.
    pub async fn run(self, agent: &Agent, json: bool) -> Outcome {
        let path = |registry: &str| format!("/registries/{}", segment(registry));
        let mut out = show::out();
        match self {
            Self::List => {
                let answer = agent.get("/registries").await?;
                if json {
                    answer.print()?;
                    return Ok(ExitCode::SUCCESS);
                }
                let logins = answer.read::<RegistryLogins>()?.registries;
                let rows: Vec<Vec<Cell>> =
                    logins.iter().map(|login| vec![text(&login.registry), text(&login.username)]).collect();
                tables::list(
                    &["REGISTRY", "USER"],
                    &rows,
                    "there are no logins; `podkeeper registry login REGISTRY` makes one",
                )?;
            }
            Self::Login { registry, username, password_file } => {
                let password = input::secret(&password_file, &format!("password of {username}"))?;
                let body = json!({ "username": username, "password": password.expose_secret() });
                let answer = agent.call(Method::PUT, &path(&registry), Some(&body)).await?;
                if json {
                    answer.print()?;
                } else {
                    writeln!(out, "{username} is logged in at {registry}")?;
                }
            }
            Self::Logout { registry } => {
                agent.call(Method::DELETE, &path(&registry), None).await?;
                show::done(json, &format!("the login at {registry} is forgotten"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
