//! `ps`, `status`, `deploy`, `rollback`, `env` and `open`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Outcome;
use super::client::{Agent, ClientError, segment};
use super::show::{Cell, Paint, ago, cell, colours, table};
use super::socket::Socket;

/// How often in a row the agent may be away while a deployment is followed, a second each.
const TRIES: u32 = 60;

type Failure = Box<dyn std::error::Error>;

/// Every service, over all pages of the list.
async fn all(agent: &Agent) -> Result<Vec<Value>, ClientError> {
    let mut services = Vec::new();
    let mut path = "/services?limit=200".to_owned();
    loop {
        let mut page = agent.call(Method::GET, &path, None).await?;
        if let Value::Array(rows) = page["services"].take() {
            services.extend(rows);
        }
        match page["cursor"].as_str() {
            Some(cursor) => path = format!("/services?limit=200&cursor={}", segment(cursor)),
            None => return Ok(services),
        }
    }
}

fn state(value: &Value) -> Cell {
    let text = value["state"].as_str().unwrap_or("-");
    (text.to_owned(), Paint::of(text))
}

fn commit(value: &Value) -> Cell {
    let (text, paint) = cell(value);
    (text.chars().take(10).collect(), paint)
}

/// `podkeeper ps`
pub async fn ps(agent: &Agent, json: bool) -> Outcome {
    let services = all(agent).await?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", json!({ "services": services }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let row = |service: &Value| {
        let last = &service["last_deployment"];
        vec![
            cell(&service["name"]),
            state(service),
            cell(&service["release"]),
            commit(&last["commit"]),
            ago(&service["created"], now),
            cell(&service["url"]),
        ]
    };
    let rows: Vec<Vec<Cell>> = services.iter().map(row).collect();
    table(&mut out, &["NAME", "STATE", "RELEASE", "COMMIT", "AGE", "URL"], &rows, colours())?;
    Ok(ExitCode::SUCCESS)
}

fn print_states(states: &BTreeMap<String, Value>, again: bool) -> std::io::Result<()> {
    let now = Timestamp::now();
    let row = |(name, status): (&String, &Value)| {
        let memory = status["memory_bytes"].as_u64().map(|bytes| format!("{} MiB", bytes >> 20));
        let cpu = status["cpu_percent"].as_f64().map(|percent| format!("{percent:.1} %"));
        let figure = |figure: Option<String>| figure.map_or(("-".into(), Paint::Dim), |text| (text, Paint::Plain));
        vec![
            (name.clone(), Paint::Plain),
            state(status),
            cell(&status["health"]),
            ago(&status["since"], now),
            cell(&status["release"]),
            commit(&status["commit"]),
            cell(&status["restarts"]),
            figure(cpu),
            figure(memory),
        ]
    };
    let rows: Vec<Vec<Cell>> = states.iter().map(row).collect();
    let mut out = std::io::stdout().lock();
    if again {
        write!(out, "\x1b[H\x1b[2J")?;
    }
    let headings = ["NAME", "STATE", "HEALTH", "SINCE", "RELEASE", "COMMIT", "RESTARTS", "CPU", "MEMORY"];
    table(&mut out, &headings, &rows, colours())?;
    out.flush()
}

/// `podkeeper status`
pub async fn status(agent: &Agent, name: Option<&str>, watch: bool, json: bool) -> Outcome {
    if watch {
        return watch_status(agent, name, json).await;
    }
    let all = agent.call(Method::GET, "/services/status", None).await?;
    let Value::Object(all) = all else { return Err(ClientError::Broken.into()) };
    let states: BTreeMap<String, Value> =
        all.into_iter().filter(|(service, _)| name.is_none_or(|name| name == service)).collect();
    if let (Some(name), true) = (name, states.is_empty()) {
        return Err(format!("there is no service `{name}`\nnext: `podkeeper ps` lists them").into());
    }
    if json {
        writeln!(std::io::stdout(), "{}", json!(states))?;
    } else {
        print_states(&states, false)?;
    }
    let failed = states.values().any(|status| status["state"] == "failed");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Each change as it comes: on a terminal the whole table anew, else a line.
async fn watch_status(agent: &Agent, name: Option<&str>, json: bool) -> Outcome {
    let mut socket = Socket::join(agent, "/status").await?;
    let mut states = BTreeMap::new();
    let on_terminal = std::io::stdout().is_terminal() && !json;
    let wanted = |service: &str| name.is_none_or(|name| name == service);
    if on_terminal {
        socket.ask("stats", &json!({ "on": true })).await?;
    }
    while let Some(event) = socket.event().await? {
        let named = event.data["name"].as_str().unwrap_or_default().to_owned();
        match event.name.as_str() {
            "snapshot" => {
                let services = event.data["services"].as_array().cloned().unwrap_or_default();
                let named = |state: &Value| state["name"].as_str().unwrap_or_default().to_owned();
                states = services.into_iter().map(|state| (named(&state), state)).collect();
                states.retain(|service, _| wanted(service));
            }
            "service" if wanted(&named) => {
                let figures = states.get(&named).cloned().unwrap_or(Value::Null);
                let mut state = event.data.clone();
                for key in ["cpu_percent", "memory_bytes"] {
                    state[key] = figures[key].clone();
                }
                states.insert(named, state);
            }
            "removed" if wanted(&named) => {
                states.remove(&named);
            }
            "stats" => {
                for (service, state) in &mut states {
                    for key in ["cpu_percent", "memory_bytes"] {
                        state[key] = event.data["services"][service][key].clone();
                    }
                }
            }
            "deployment" if wanted(event.data["service"].as_str().unwrap_or_default()) => {}
            "closed" => break,
            _ => continue,
        }
        if json {
            writeln!(std::io::stdout(), "{}", json!({ "event": event.name, "data": event.data }))?;
        } else if on_terminal {
            print_states(&states, true)?;
        } else {
            line(&event.name, &event.data, &states)?;
        }
    }
    Err("the agent has closed the connection; run it again".into())
}

/// An event as one line.
fn line(event: &str, data: &Value, states: &BTreeMap<String, Value>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let text = |key: &str| cell(&data[key]).0;
    match event {
        "snapshot" => {
            for (name, status) in states {
                writeln!(out, "{name} {}", state(status).0)?;
            }
        }
        "service" => writeln!(out, "{} {}", text("name"), state(data).0)?,
        "removed" => writeln!(out, "{} removed", text("name"))?,
        "deployment" => writeln!(out, "{} deployment {} {}", text("service"), text("id"), state(data).0)?,
        _ => {}
    }
    out.flush()
}

/// Prints a deployment's story as it happens, and ends as the deployment ends.
async fn follow(agent: &Agent, deployment: &Value, wait: bool, json: bool) -> Outcome {
    let id = &deployment["id"];
    if !wait {
        let text = if json { deployment.to_string() } else { format!("deployment {id} is queued") };
        writeln!(std::io::stdout(), "{text}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut shown, mut tries) = (0, 0);
    let ended = loop {
        // The agent may be restarted in the middle, and the deployment goes on.
        let story = agent.stream(&format!("/deployments/{id}/log"), "text/plain").await;
        if let Ok(story) = story {
            let mut story = std::pin::pin!(story);
            let mut told = 0;
            while let Some(Ok(bytes)) = story.next().await {
                // A story that is told again begins anew.
                let fresh = bytes.get(usize::saturating_sub(shown, told)..).unwrap_or_default();
                told += bytes.len();
                shown = shown.max(told);
                if !json {
                    let mut out = std::io::stdout().lock();
                    out.write_all(fresh)?;
                    out.flush()?;
                }
            }
        }
        let now = agent.call(Method::GET, &format!("/deployments/{id}"), None).await;
        match now {
            Ok(now) if matches!(now["state"].as_str(), Some("live" | "failed" | "cancelled" | "superseded")) => {
                break now;
            }
            Ok(_) => tries = 0,
            Err(error) if error.is_away() && tries < TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    if json {
        writeln!(std::io::stdout(), "{ended}")?;
    }
    let state = ended["state"].as_str().unwrap_or_default();
    if state == "live" {
        return Ok(ExitCode::SUCCESS);
    }
    let problem = &ended["problem"];
    let mut told = format!("deployment {id} is {state}");
    if let Some(detail) = problem["detail"].as_str() {
        told.push_str(&format!(": {detail}"));
    }
    if let Some(hint) = problem["hint"].as_str() {
        told.push_str(&format!("\nnext: {hint}"));
    }
    Err(told.into())
}

/// `podkeeper deploy`
pub async fn deploy(agent: &Agent, name: &str, quick: bool, wait: bool, json: bool) -> Outcome {
    let (verb, body) = if quick { ("restart", json!({ "quick": true })) } else { ("start", json!({})) };
    let deployment = agent.call(Method::POST, &format!("/services/{}/{verb}", segment(name)), Some(&body)).await?;
    follow(agent, &deployment, wait, json).await
}

/// `podkeeper rollback`
pub async fn rollback(agent: &Agent, name: &str, release: Option<u32>, wait: bool, json: bool) -> Outcome {
    let body = release.map_or_else(|| json!({}), |release| json!({ "release": release }));
    let path = format!("/services/{}/rollback", segment(name));
    let deployment = agent.call(Method::POST, &path, Some(&body)).await?;
    follow(agent, &deployment, wait, json).await
}

/// What changes of an environment.
#[derive(Debug, Default)]
pub struct Changes {
    /// `KEY=VALUE` each.
    pub set: Vec<String>,
    /// Keys to remove.
    pub remove: Vec<String>,
    /// A file of `KEY=VALUE` lines; `-` is standard input.
    pub file: Option<PathBuf>,
    /// Whether the service goes on as it is until its next release.
    pub no_restart: bool,
}

fn pair(text: &str) -> Result<(String, Value), Failure> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
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

fn read(file: &Path) -> std::io::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// `podkeeper env`
pub async fn env(agent: &Agent, name: &str, changes: Changes, wait: bool, json: bool) -> Outcome {
    let mut env = serde_json::Map::new();
    if let Some(file) = &changes.file {
        let text = read(file).map_err(|error| format!("can't read `{}`: {error}", file.display()))?;
        env.extend(pairs(&text)?);
    }
    for text in &changes.set {
        env.extend([pair(text)?]);
    }
    env.extend(changes.remove.into_iter().map(|key| (key, Value::Null)));
    let path = format!("/services/{}/env", segment(name));
    if !env.is_empty() {
        let body = json!({ "env": env, "restart": !changes.no_restart });
        let answer = agent.call(Method::POST, &format!("{path}/update"), Some(&body)).await?;
        // A service that doesn't run has nothing to restart, and the answer is its environment.
        if answer.get("id").is_some() {
            return follow(agent, &answer, wait, json).await;
        }
        if !json {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let answer = agent.call(Method::GET, &path, None).await?;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{answer}")?;
        return Ok(ExitCode::SUCCESS);
    }
    for (key, value) in answer["env"].as_object().into_iter().flatten() {
        // Its own line breaks stay; what could drive the terminal does not.
        let value = value.as_str().unwrap_or_default();
        writeln!(out, "{key}={}", value.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "\u{fffd}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `podkeeper open`
pub async fn open(agent: &Agent, name: &str, json: bool) -> Outcome {
    let service = agent.call(Method::GET, &format!("/services/{}", segment(name)), None).await?;
    let url = service["url"].as_str().ok_or(ClientError::Broken)?;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", json!({ "url": url }))?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{url}")?;
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|key| std::env::var_os(key).is_some());
    if has_display && url.starts_with("http") {
        let opener =
            Command::new("xdg-open").arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if opener.is_err() {
            writeln!(std::io::stderr(), "podkeeper: there is no xdg-open here to open it with")?;
        }
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
