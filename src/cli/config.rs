//! `podkeeper config`

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::options::{Options, Outcome};
use super::show;
use crate::config::Config;

/// What is looked at.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell whether the configuration is good
    Check {
        /// Another file than the configured one
        file: Option<PathBuf>,
    },
}

impl Command {
    /// Looks at it.
    pub fn run(self, options: &Options) -> Outcome {
        let Self::Check { file } = self;
        options.must_be_local("config check")?;
        // The agent does without the file, too; one that is named must be there.
        let optional = file.is_none();
        let file = file.unwrap_or_else(|| options.config.clone());
        Config::load(&file, optional)?;
        let mut out = show::out();
        if options.json {
            writeln!(out, "{}", json!({ "file": file.display().to_string(), "good": true }))?;
        } else {
            writeln!(out, "{} is good", file.display())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
