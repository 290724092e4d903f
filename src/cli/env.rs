//! `podkeeper env`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::client::{Agent, segment};
use super::dotenv::{self, Variable};
use super::follow::{Waiting, follow};
use super::options::{Failure, Outcome};
use super::{input, show};
use crate::api::env::{Env, EnvPlan, EnvUpdate, EnvUpdated};
use crate::text::Plain;

/// What changes of an environment.
#[derive(Debug, clap::Args)]
#[command(after_long_help = dotenv::GRAMMAR)]
pub struct Args {
    /// The service
    name: String,
    /// What to set. Secrets are better read from a file: other users of this machine can read a command line
    #[arg(value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What to remove
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// A file of variables to set, as dotenv files have them (--help says the rules); - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Leave the service as it is until its next release
    #[arg(long)]
    no_restart: bool,
    /// Only tell what would change, and whether the service would be started anew
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

fn pair(text: &str) -> Result<(String, Value), Failure> {
    let (key, value) = text.split_once('=').ok_or_else(|| {
        // What is behind it may be a secret all the same.
        let text = Plain::from(text.split_whitespace().next().unwrap_or_default());
        format!("`{text}` is not KEY=VALUE\nNext: write KEY= for an empty value, or --remove KEY to take it away")
    })?;
    Ok((key.trim().to_owned(), value.into()))
}

/// The variables of a file, without what the agent alone gives.
fn variables(file: &Path, json: bool) -> Result<Map<String, Value>, Failure> {
    let read = dotenv::read(&input::text(file)?);
    let mut env = Map::new();
    for variable in read.map_err(|error| format!("can't read `{}`: {error}", file.display()))? {
        if variable.key.is_agents() {
            let Variable { key, line, .. } = variable;
            let said = format!(
                "`{key}` in line {line} is passed over, since the agent gives it; \
                 `podkeeper settings NAME container_port=PORT` sets it"
            );
            show::note(json, &said)?;
        } else {
            env.insert(variable.key.into(), variable.value.into());
        }
    }
    Ok(env)
}

/// What a change would do.
fn tell(name: &str, update: &EnvUpdated) -> std::io::Result<()> {
    let mut out = show::out();
    let Some(EnvPlan { set, removed, restarts }) = &update.plan else { return Ok(()) };
    if !update.changed && !restarts {
        return writeln!(out, "nothing would be changed: {name} has it so already");
    }
    for (what, keys) in [("set", set), ("removed", removed)] {
        for key in keys {
            writeln!(out, "{} would be {what}", Plain::from(key))?;
        }
    }
    match restarts {
        true => writeln!(out, "{name} would be started anew with it, beside what runs"),
        false => writeln!(out, "nothing would be restarted: it would be kept for the next release of {name}"),
    }
}

/// Changes what is to be changed; without anything it prints all of it.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let Args { name, set, remove, file, no_restart, dry_run, waiting } = wanted;
    let mut env = Map::new();
    if let Some(file) = file {
        env.extend(variables(file, json)?);
    }
    for text in set {
        env.extend([pair(text)?]);
    }
    let changes = file.is_some() || !set.is_empty() || !remove.is_empty();
    let path = format!("/services/{}/env", segment(name));
    if !remove.is_empty() {
        let known: Env = agent.get(&path).await?.read()?;
        for key in remove {
            if known.env.contains_key(key) {
                env.insert(key.clone(), Value::Null);
            } else {
                show::note(json, &format!("`{}` is not set", Plain::from(key)))?;
                env.remove(key);
            }
        }
    }
    if !env.is_empty() {
        let body = json!({ "env": env, "restart": !*no_restart });
        let query = if *dry_run { "?dry_run=true" } else { "" };
        let answer = agent.call(Method::POST, &format!("{path}/update{query}"), Some(&body)).await?;
        if *dry_run {
            if json {
                answer.print()?;
            } else {
                tell(name, &answer.read()?)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        match answer.read()? {
            EnvUpdate::Deployed(_) => return follow(agent, &answer, *waiting, json).await,
            EnvUpdate::Kept(_) if json => {}
            EnvUpdate::Kept(kept) if kept.changed => writeln!(show::out(), "kept for the next release of {name}")?,
            EnvUpdate::Kept(_) => writeln!(show::out(), "nothing is changed: {name} has it so already")?,
        }
    } else if changes && !json {
        writeln!(show::out(), "nothing {} changed", if *dry_run { "would be" } else { "is" })?;
    }
    if changes && !json {
        return Ok(ExitCode::SUCCESS);
    }
    let answer = agent.get(&path).await?;
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let Env { env, .. } = answer.read()?;
    if env.is_empty() {
        let name = Plain::from(name);
        show::note(json, &format!("`{name}` has no variables; `podkeeper env {name} KEY=VALUE` sets one"))?;
    }
    let mut out = show::out();
    for (key, value) in env {
        writeln!(out, "{key}={value}")?;
    }
    Ok(ExitCode::SUCCESS)
}
