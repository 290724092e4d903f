//! What every command takes, and how each ends.

use std::path::PathBuf;
use std::process::ExitCode;

use super::client::{self, Agent};
use crate::config::{Config, DEFAULT_PATH};

/// What every command takes stands apart from its own options.
const GLOBAL: &str = "Options of every command";

/// Why a command failed. It is told to whoever typed it.
pub(super) type Failure = Box<dyn std::error::Error>;
/// How a command ends.
pub(super) type Outcome = Result<ExitCode, Failure>;

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The configuration
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE", env = "PODKEEPER_CONFIG", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// The agent of another machine, such as `https://podkeeper.example.com`
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "URL", env = "PODKEEPER_HOST")]
    pub(super) host: Option<String>,
    /// A file with the token for --host; without it the token is in PODKEEPER_TOKEN
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE", env = "PODKEEPER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON: one object, or one a line where there is no end. Standard error has JSON, too: an error is one object,
    /// `problem`, `detail` and `hint`, and what is said beside the answer is a `note`
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) json: bool,
}

impl Options {
    /// Whoever names another machine must not be told of this one. `what` is the command.
    pub(super) fn must_be_local(&self, what: &str) -> Result<(), Failure> {
        match &self.host {
            None => Ok(()),
            Some(_) => Err(format!(
                "`podkeeper {what}` is of the machine that it runs on, and --host or PODKEEPER_HOST names another\n\
                 Next: run it on that host, without either"
            )
            .into()),
        }
    }

    /// Does `work` with the agent that is asked.
    pub(super) fn ask(&self, work: impl AsyncFnOnce(&Agent) -> Outcome) -> Outcome {
        let local = match self.host {
            Some(_) => PathBuf::new(),
            None => Config::load(&self.config, true)?.listen.local.into(),
        };
        let agent = Agent::find(&local, self.host.as_deref(), self.token_file.as_deref())?;
        client::block_on(work(&agent))
    }
}
