//! `create`, `templates`, `stop` and `remove`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::client::{Agent, segment};
use super::show::{Cell, cell, colours, table};
use super::{Failure, Outcome, input, show};
use crate::names::RepoUri;
use crate::text::Plain;

/// What is made.
#[derive(Debug, clap::Args)]
pub struct New {
    /// What it shall be called: it answers at NAME.localhost, or as the configuration says
    name: String,
    /// What its repository begins with; `podkeeper templates` lists them
    #[arg(long, default_value = "empty", conflicts_with = "from")]
    template: String,
    /// A repository elsewhere instead, such as `https://example.org/site.git`; `podkeeper deploy` fetches and builds it
    #[arg(long, value_name = "URI")]
    from: Option<String>,
    /// A file with the password or token that reads it; - is standard input
    #[arg(long, value_name = "FILE", requires = "from")]
    password_file: Option<PathBuf>,
    /// The branch that is built
    #[arg(long)]
    branch: Option<String>,
}

/// The address of the repository elsewhere with its password, which must not have come by the command line. Nor may a
/// token, as which a user name without a password is read.
fn external(name: &str, text: &str, password: Option<&Path>) -> Result<SecretString, Failure> {
    let (uri, typed) = RepoUri::parse(text)?;
    match password {
        Some(file) if typed.is_none() || uri.is_token() => {
            Ok(RepoUri::with_password(text, &input::secret(file, "password")?)?)
        }
        None if typed.is_none() => Ok(text.to_owned().into()),
        _ => {
            let from = if uri.is_token() { uri.address().to_owned() } else { uri.to_string() };
            Err(format!(
                "others can read a command line, and so the password or token in it; nothing is made\n\
                 next: podkeeper create {name} --from {from} --password-file FILE, where - is standard input"
            )
            .into())
        }
    }
}

/// `podkeeper create`
pub async fn create(agent: &Agent, new: New, json: bool) -> Outcome {
    let New { name, template, from, password_file, branch } = new;
    let name = name.as_str();
    let (source, mut body) = match from {
        Some(uri) => {
            let uri = external(name, &uri, password_file.as_deref())?;
            ("external", json!({ "external": uri.expose_secret() }))
        }
        None => ("template", json!({ "template": template })),
    };
    if let Some(branch) = branch {
        body["branch"] = branch.into();
    }
    let service = agent.call(Method::PUT, &format!("/services/{}", segment(name)), Some(&body)).await?;
    let mut out = show::out();
    if json {
        writeln!(out, "{service}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |key: &str| Plain::from(service[key].as_str().unwrap_or_default());
    const PASSWORD: &str = "with a token (podkeeper token create --name NAME) as the password";
    let (url, push_url, branch) = (text("url"), text("push_url"), text("branch"));
    match (source, service["source"]["template"].as_str()) {
        ("external", _) => {
            let uri = Plain::from(service["source"]["uri"].as_str().unwrap_or_default());
            if uri.starts_with("ssh://") && password_file.is_none() {
                writeln!(out, "{name} is made. Let it read its repository, by this key: podkeeper deploy-key {name}")?;
                writeln!(out, "Then build and start it: podkeeper deploy {name}")?;
            } else {
                writeln!(out, "{name} is made. Build and start it: podkeeper deploy {name}")?;
            }
            writeln!(out, "So that pushes to {branch} do, give the forge's webhook this address and key:")?;
            writeln!(out, "  {}\n  {}", text("hook_url"), text("hook_key"))?;
        }
        (_, Some("empty")) => {
            writeln!(out, "{name} is made. Push to it, {PASSWORD}:")?;
            writeln!(out, "  git push {push_url} HEAD:{branch}")?;
        }
        _ => {
            writeln!(out, "{name} is made. Clone it, {PASSWORD}, and push what you change; or run it as it is:")?;
            writeln!(out, "  git clone {push_url}\n  podkeeper deploy {name}")?;
        }
    }
    writeln!(out, "It will answer at {url}")?;
    Ok(ExitCode::SUCCESS)
}

/// `podkeeper templates`
pub async fn templates(agent: &Agent, json: bool) -> Outcome {
    let answer = agent.call(Method::GET, "/templates", None).await?;
    let mut out = show::out();
    if json {
        writeln!(out, "{answer}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let templates = answer["templates"].as_array().into_iter().flatten();
    let rows: Vec<Vec<Cell>> =
        templates.map(|template| vec![cell(&template["name"]), cell(&template["description"])]).collect();
    table(&mut out, &["NAME", "WHAT IT MAKES"], &rows, colours())?;
    Ok(ExitCode::SUCCESS)
}

/// `podkeeper stop`
pub async fn stop(agent: &Agent, name: &str, json: bool) -> Outcome {
    let service = agent.call(Method::POST, &format!("/services/{}/stop", segment(name)), Some(&json!({}))).await?;
    let text = if json { service.to_string() } else { format!("{name} is stopped; podkeeper deploy {name} starts it") };
    writeln!(show::out(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// `podkeeper remove`
pub async fn remove(agent: &Agent, name: &str, volumes: bool, yes: bool, json: bool) -> Outcome {
    let path = format!("/services/{}", segment(name));
    if !yes {
        // Whoever mistyped is told so before being asked.
        agent.call(Method::GET, &path, None).await?;
        if !std::io::stdin().is_terminal() {
            return Err(format!("nobody is here to ask\nnext: podkeeper remove --yes {name}").into());
        }
        let kept = if volumes { "and all that its volumes hold" } else { "its volumes stay" };
        write!(show::err(), "Remove {name}, its repository and its releases; {kept}. Type its name: ")?;
        let mut typed = String::new();
        std::io::stdin().lock().read_line(&mut typed)?;
        if typed.trim() != name {
            return Err("nothing is removed".into());
        }
    }
    let query = if volumes { "?volumes=true" } else { "" };
    agent.call(Method::DELETE, &format!("{path}{query}"), None).await?;
    if !json {
        writeln!(show::out(), "{name} is removed")?;
    }
    Ok(ExitCode::SUCCESS)
}
