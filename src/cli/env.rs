//! `podkeeper env`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::client::{Agent, segment};
use super::follow::{Waiting, follow};
use super::options::{Failure, Outcome};
use super::{input, show};
use crate::api::env::{Env, EnvUpdate};
use crate::text::Plain;

/// What changes of an environment.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// The service
    name: String,
    /// What to set. Secrets are better read from a file: other users of this machine can read a command line
    #[arg(value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What to remove
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// A file of KEY=VALUE lines to set; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Leave the service as it is until its next release
    #[arg(long)]
    no_restart: bool,
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

/// The pairs of a file: one a line, `#` begins a comment, quotes around a value are taken away.
fn pairs(text: &str) -> Result<Vec<(String, Value)>, Failure> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut all = Vec::new();
    for line in lines {
        let (key, value) = pair(line.strip_prefix("export ").unwrap_or(line))?;
        let value = value.as_str().unwrap_or_default();
        let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        all.push((key, bare.unwrap_or(value).into()));
    }
    Ok(all)
}

/// Changes what is to be changed; without anything it prints all of it.
pub async fn run(agent: &Agent, wanted: &Wanted, json: bool) -> Outcome {
    let Wanted { name, set, remove, file, no_restart, waiting } = wanted;
    let mut env = Map::new();
    if let Some(file) = file {
        env.extend(pairs(&input::text(file)?)?);
    }
    for text in set {
        env.extend([pair(text)?]);
    }
    let changes = !env.is_empty() || !remove.is_empty();
    let path = format!("/services/{}/env", segment(name));
    if !remove.is_empty() {
        let known: Env = agent.get(&path).await?.read()?;
        for key in remove {
            if known.env.contains_key(key) {
                env.insert(key.clone(), Value::Null);
            } else {
                writeln!(show::err(), "podkeeper: `{}` is not set", Plain::from(key))?;
                env.remove(key);
            }
        }
    }
    if !env.is_empty() {
        let body = json!({ "env": env, "restart": !*no_restart });
        let answer = agent.call(Method::POST, &format!("{path}/update"), Some(&body)).await?;
        match answer.read()? {
            EnvUpdate::Deployed(_) => return follow(agent, &answer, *waiting, json).await,
            EnvUpdate::Kept(_) if json => {}
            EnvUpdate::Kept(kept) if kept.changed => writeln!(show::out(), "kept for the next release of {name}")?,
            EnvUpdate::Kept(_) => writeln!(show::out(), "nothing is changed: {name} has it so already")?,
        }
    } else if changes && !json {
        writeln!(show::out(), "nothing is changed")?;
    }
    if changes && !json {
        return Ok(ExitCode::SUCCESS);
    }
    let answer = agent.get(&path).await?;
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = show::out();
    for (key, value) in answer.read::<Env>()?.env {
        writeln!(out, "{key}={value}")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables() {
        let text = "# comment\n\nA=1\nexport B=\"two words\"\nC='x=y'\nD=\n";
        let read: Vec<(String, String)> =
            pairs(text).unwrap().into_iter().map(|(key, value)| (key, value.as_str().unwrap().to_owned())).collect();
        let wanted = [("A", "1"), ("B", "two words"), ("C", "x=y"), ("D", "")];
        assert_eq!(read, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(pairs("nothing").is_err());
    }
}
