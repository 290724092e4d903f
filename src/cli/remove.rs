//! `podkeeper remove`

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use http::Method;

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show;

/// What goes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    /// Remove its volumes and what they hold, too
    #[arg(long)]
    volumes: bool,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
}

/// Asks whether it shall go, and removes it.
pub async fn run(agent: &Agent, Args { name, volumes, yes }: &Args, json: bool) -> Outcome {
    let path = format!("/services/{}", segment(name));
    if !yes {
        // Whoever mistyped is told so before being asked.
        agent.get(&path).await?;
        if !std::io::stdin().is_terminal() {
            return Err(format!("nobody is here to ask\nNext: podkeeper remove --yes {name}").into());
        }
        let kept = if *volumes { "and all that its volumes hold" } else { "its volumes stay" };
        write!(show::err(), "Remove {name}, its repository and its releases; {kept}. Type its name: ")?;
        let mut typed = String::new();
        std::io::stdin().lock().read_line(&mut typed)?;
        if typed.trim() != name {
            return Err("what was typed is not its name, and nothing is removed".into());
        }
    }
    let query = if *volumes { "?volumes=true" } else { "" };
    let answer = agent.call(Method::DELETE, &format!("{path}{query}"), None).await?;
    if json {
        answer.print()?;
    } else {
        writeln!(show::out(), "{name} is removed")?;
    }
    Ok(ExitCode::SUCCESS)
}
