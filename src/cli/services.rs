//! `ps`, `status` and `open`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::client::{Agent, ClientError, segment};
use super::show::{Cell, Paint, ago, cell, colours, commit, state, table};
use super::socket::Socket;
use super::{Failure, Outcome, pages, show};

/// How often in a row the agent may be away while something is followed, a second each.
pub(super) const TRIES: u32 = 60;

/// `podkeeper ps`
pub async fn ps(agent: &Agent, json: bool) -> Outcome {
    let services = pages::rows(agent, "/services", "services", usize::MAX).await?;
    if json {
        writeln!(show::out(), "{}", json!({ "services": services }))?;
        return Ok(ExitCode::SUCCESS);
    }
    // The last deployment's commit is not what runs where it failed, and none where it built nothing.
    let states = agent.call(Method::GET, "/services/status", None).await?;
    let now = Timestamp::now();
    let row = |service: &Value| {
        let running = service["name"].as_str().map_or(&Value::Null, |name| &states[name]);
        vec![
            cell(&service["name"]),
            state(service),
            state(&service["last_deployment"]),
            cell(&service["release"]),
            commit(&running["commit"]),
            ago(&service["created"], now),
            cell(&service["url"]),
        ]
    };
    let rows: Vec<Vec<Cell>> = services.iter().map(row).collect();
    let headings = ["NAME", "STATE", "DEPLOYMENT", "RELEASE", "COMMIT", "AGE", "URL"];
    table(&mut show::out(), &headings, &rows, colours())?;
    Ok(ExitCode::SUCCESS)
}

fn print_states(states: &BTreeMap<String, Value>, again: bool) -> std::io::Result<()> {
    let now = Timestamp::now();
    let row = |(name, status): (&String, &Value)| {
        let memory = status["memory_bytes"].as_u64().map(|bytes| format!("{} MiB", bytes >> 20));
        let cpu = status["cpu_percent"].as_f64().map(|percent| format!("{percent:.1} %"));
        let figure =
            |figure: Option<String>| figure.map_or(("-".into(), Paint::Dim), |text| (text.into(), Paint::Plain));
        vec![
            (name.into(), Paint::Plain),
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
    let mut out = show::out();
    if again {
        out.clear()?;
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
        return Err(nobody(name));
    }
    if json {
        writeln!(show::out(), "{}", json!(states))?;
    } else {
        print_states(&states, false)?;
    }
    let failed = states.values().any(|status| status["state"] == "failed");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Each change as it comes: on a terminal the whole table anew, else a line. It goes on over a restart of the agent.
async fn watch_status(agent: &Agent, name: Option<&str>, json: bool) -> Outcome {
    let (mut begun, mut tries) = (false, 0);
    loop {
        match watch_once(agent, name, json, &mut begun, &mut tries).await {
            Ok(()) => {}
            Err(error) => {
                let is_away = error.downcast_ref::<ClientError>().is_some_and(ClientError::is_away);
                if !is_away || !begun || tries >= TRIES {
                    return Err(error);
                }
            }
        }
        tries += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The same on one connection, to its end.
async fn watch_once(
    agent: &Agent,
    name: Option<&str>,
    json: bool,
    begun: &mut bool,
    tries: &mut u32,
) -> Result<(), Failure> {
    let mut socket = Socket::join(agent, "/status").await?;
    let mut states = BTreeMap::new();
    let on_terminal = show::out().is_on_terminal() && !json;
    let wanted = |service: &str| name.is_none_or(|name| name == service);
    if on_terminal {
        socket.ask("stats", &json!({ "on": true })).await?;
    }
    while let Some(mut event) = socket.event().await? {
        let named = event.data["name"].as_str().unwrap_or_default().to_owned();
        match event.name.as_str() {
            "snapshot" => {
                for (list, of) in [("services", "name"), ("deployments", "service")] {
                    if let Value::Array(all) = &mut event.data[list] {
                        all.retain(|one| wanted(one[of].as_str().unwrap_or_default()));
                    }
                }
                let services = event.data["services"].as_array().cloned().unwrap_or_default();
                let named = |state: &Value| state["name"].as_str().unwrap_or_default().to_owned();
                states = services.into_iter().map(|state| (named(&state), state)).collect();
                if let (Some(name), false, true) = (name, *begun, states.is_empty()) {
                    return Err(nobody(name));
                }
                (*begun, *tries) = (true, 0);
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
            "closed" => return Ok(()),
            _ => continue,
        }
        if json {
            writeln!(show::out(), "{}", json!({ "event": event.name, "data": event.data }))?;
        } else if on_terminal {
            print_states(&states, true)?;
        } else {
            line(&event.name, &event.data, &states)?;
        }
    }
    Ok(())
}

fn nobody(name: &str) -> Failure {
    format!("there is no service `{name}`\nnext: `podkeeper ps` lists them").into()
}

/// An event as one line.
fn line(event: &str, data: &Value, states: &BTreeMap<String, Value>) -> std::io::Result<()> {
    let mut out = show::out();
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

/// What may be opened: a page, and nothing else that a desktop knows to open. It begins with its scheme, and so is no
/// option of xdg-open, which knows no `--`.
fn page(url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// `podkeeper open`
pub async fn open(agent: &Agent, name: &str, json: bool) -> Outcome {
    let service = agent.call(Method::GET, &format!("/services/{}", segment(name)), None).await?;
    let url = service["url"].as_str().ok_or(ClientError::Broken)?;
    let mut out = show::out();
    if json {
        writeln!(out, "{}", json!({ "url": url }))?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{url}")?;
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|key| std::env::var_os(key).is_some());
    if has_display && let Some(page) = page(url) {
        let mut opener = Command::new("xdg-open");
        let opener = opener.arg(page.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if opener.is_err() {
            writeln!(show::err(), "podkeeper: there is no xdg-open here to open it with")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_are_opened() {
        let opened = |url: &str| page(url).map(String::from);
        assert_eq!(opened("https://blog.example.org").as_deref(), Some("https://blog.example.org/"));
        assert_eq!(opened("HTTP://blog.localhost:8080/\n-x").as_deref(), Some("http://blog.localhost:8080/-x"));
        for url in [
            "",
            "-x",
            "--help",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "httpx://a/",
            "http-x://a/",
            "http:",
            "ssh://a/",
        ] {
            assert_eq!(opened(url), None, "{url}");
        }
    }
}
