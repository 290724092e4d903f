//! `create`, `templates`, `stop` and `remove`.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use http::Method;
use serde_json::json;

use super::Outcome;
use super::client::{Agent, segment};
use super::show::{Cell, cell, clean, colours, table};

/// `podkeeper create`
pub async fn create(
    agent: &Agent,
    name: &str,
    (source, value): (&str, String),
    branch: Option<String>,
    json: bool,
) -> Outcome {
    let mut body = json!({ source: value });
    if let Some(branch) = branch {
        body["branch"] = branch.into();
    }
    let service = agent.call(Method::PUT, &format!("/services/{}", segment(name)), Some(&body)).await?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{service}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |key: &str| clean(service[key].as_str().unwrap_or_default());
    if source == "external" {
        writeln!(out, "{name} is made. Build and start it: podkeeper deploy {name}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let branch = text("branch");
    writeln!(out, "{name} is made. Push to it, with a token (podkeeper token create --name NAME) as the password:")?;
    writeln!(out, "  git push {} HEAD:{branch}", text("push_url"))?;
    writeln!(out, "It will answer at {}", text("url"))?;
    Ok(ExitCode::SUCCESS)
}

/// `podkeeper templates`
pub async fn templates(agent: &Agent, json: bool) -> Outcome {
    let answer = agent.call(Method::GET, "/templates", None).await?;
    let mut out = std::io::stdout().lock();
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
    writeln!(std::io::stdout(), "{text}")?;
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
        write!(std::io::stderr(), "Remove {name}, its repository and its releases; {kept}. Type its name: ")?;
        let mut typed = String::new();
        std::io::stdin().lock().read_line(&mut typed)?;
        if typed.trim() != name {
            return Err("nothing is removed".into());
        }
    }
    let query = if volumes { "?volumes=true" } else { "" };
    agent.call(Method::DELETE, &format!("{path}{query}"), None).await?;
    if !json {
        writeln!(std::io::stdout(), "{name} is removed")?;
    }
    Ok(ExitCode::SUCCESS)
}
