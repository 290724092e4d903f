//! `podkeeper status`

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::client::{Agent, ClientError};
use super::follow::TRIES;
use super::options::{Failure, Outcome};
use super::show;
use super::show::{Cell, ago, cell, commit, condition, how, state, text};
use super::socket::{Event, Socket};
use super::tables::table;
use crate::api::deployments::Deployment;
use crate::api::live::{AllFigures, Removed, ServiceState, Snapshot};
use crate::api::status::{Condition, Figures, Status};
use crate::names::ServiceName;

/// Which services.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this one
    name: Option<String>,
    /// Go on with each change
    #[arg(short, long)]
    watch: bool,
}

type States = BTreeMap<ServiceName, Status>;

impl Args {
    fn has(&self, service: &ServiceName) -> bool {
        self.name.as_deref().is_none_or(|name| name == service.as_str())
    }
}

fn nobody(name: &str) -> Failure {
    format!("there is no service `{name}`\nNext: `podkeeper ps` lists them").into()
}

/// Tells how they are; it fails where one has failed.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    if wanted.watch {
        return watch(agent, wanted, json).await;
    }
    let answer = agent.get("/services/status").await?;
    let mut states: States = answer.read()?;
    states.retain(|service, _| wanted.has(service));
    if let (Some(name), true) = (&wanted.name, states.is_empty()) {
        return Err(nobody(name));
    }
    if json {
        let mut all: BTreeMap<ServiceName, Value> = answer.read()?;
        all.retain(|service, _| wanted.has(service));
        writeln!(show::out(), "{}", json!(all))?;
    } else if states.is_empty() {
        show::note(json, "there are no services; `podkeeper create NAME` makes one")?;
    } else {
        print(&states, false)?;
    }
    let failed = states.values().any(|status| status.state.state == Condition::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(states: &States, again: bool) -> std::io::Result<()> {
    let now = Timestamp::now();
    let row = |(name, Status { state, figures }): (&ServiceName, &Status)| {
        vec![
            text(name.as_str()),
            how(state),
            cell(state.health.map(|health| health.as_str())),
            ago(state.since, now),
            cell(state.release),
            commit(state.commit.as_ref()),
            text(state.restarts.to_string()),
            cell(figures.cpu_percent.map(|percent| format!("{percent:.1} %"))),
            cell(figures.memory_bytes.map(|bytes| format!("{} MiB", bytes >> 20))),
        ]
    };
    let rows: Vec<Vec<Cell>> = states.iter().map(row).collect();
    let mut out = show::out();
    if again {
        out.clear()?;
    }
    let headings = ["NAME", "STATE", "HEALTH", "SINCE", "RELEASE", "COMMIT", "RESTARTS", "CPU", "MEMORY"];
    table(&mut out, &headings, &rows)?;
    out.flush()
}

/// Each change as it comes: on a terminal the whole table anew, else a line. It goes on over a restart of the agent.
async fn watch(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let (mut begun, mut tries) = (false, 0);
    loop {
        if let Err(error) = watch_once(agent, wanted, json, &mut begun, &mut tries).await {
            let is_away = error.downcast_ref::<ClientError>().is_some_and(ClientError::is_away);
            if !is_away || !begun || tries >= TRIES {
                return Err(error);
            }
        }
        tries += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A change that is shown.
enum Change {
    Snapshot,
    Service(ServiceName, Condition),
    Removed(ServiceName),
    Figures,
    Deployment(Box<Deployment>),
}

/// The same on one connection, to its end.
async fn watch_once(
    agent: &Agent,
    wanted: &Args,
    json: bool,
    begun: &mut bool,
    tries: &mut u32,
) -> Result<(), Failure> {
    let mut socket = Socket::join(agent, "/status").await?;
    let mut states = States::new();
    let on_terminal = show::out().is_on_terminal() && !json;
    if on_terminal {
        socket.ask::<Value>("stats", &json!({ "on": true })).await?;
    }
    while let Some(event) = socket.event().await? {
        if event.name == "closed" {
            return Ok(());
        }
        let Some(change) = change(&event, wanted, &mut states)? else { continue };
        if matches!(change, Change::Snapshot) {
            if let (Some(name), false, true) = (&wanted.name, *begun, states.is_empty()) {
                return Err(nobody(name));
            }
            (*begun, *tries) = (true, 0);
        }
        if json {
            let data = if matches!(change, Change::Snapshot) { only(&event, wanted)? } else { event.data };
            writeln!(show::out(), "{}", json!({ "event": event.name, "data": data }))?;
        } else if on_terminal {
            print(&states, true)?;
        } else {
            line(&change, &states)?;
        }
    }
    Ok(())
}

/// What an event changes in `states`; none is an event that doesn't matter here.
fn change(event: &Event, wanted: &Args, states: &mut States) -> Result<Option<Change>, ClientError> {
    Ok(match event.name.as_str() {
        "snapshot" => {
            let seen = event.read::<Snapshot<'_>>()?.services.into_iter();
            let all = seen.map(|ServiceState { name, state }| {
                (name.into_owned(), Status { state: state.into_owned(), figures: Figures::default() })
            });
            *states = all.filter(|(name, _)| wanted.has(name)).collect();
            Some(Change::Snapshot)
        }
        "service" => {
            let ServiceState { name, state } = event.read()?;
            let (name, state) = (name.into_owned(), state.into_owned());
            wanted.has(&name).then(|| {
                let figures = states.remove(&name).map(|before| before.figures).unwrap_or_default();
                let condition = state.state;
                states.insert(name.clone(), Status { state, figures });
                Change::Service(name, condition)
            })
        }
        "removed" => {
            let Removed { name } = event.read()?;
            wanted.has(&name).then(|| {
                states.remove(&*name);
                Change::Removed(name.into_owned())
            })
        }
        "stats" => {
            let AllFigures { services } = event.read()?;
            for (name, status) in states.iter_mut() {
                status.figures = services.get(name).map(|figures| (**figures).clone()).unwrap_or_default();
            }
            Some(Change::Figures)
        }
        "deployment" => {
            let deployment: Box<Deployment> = event.read()?;
            wanted.has(&deployment.service).then_some(Change::Deployment(deployment))
        }
        _ => None,
    })
}

/// A snapshot as it came, of what is wanted.
fn only(event: &Event, wanted: &Args) -> Result<Value, ClientError> {
    #[derive(Deserialize, Serialize)]
    struct All {
        services: Vec<OfService>,
        deployments: Vec<OfDeployment>,
    }
    #[derive(Deserialize, Serialize)]
    struct OfService {
        name: ServiceName,
        #[serde(flatten)]
        rest: Map<String, Value>,
    }
    #[derive(Deserialize, Serialize)]
    struct OfDeployment {
        service: ServiceName,
        #[serde(flatten)]
        rest: Map<String, Value>,
    }
    let mut all: All = event.read()?;
    all.services.retain(|one| wanted.has(&one.name));
    all.deployments.retain(|one| wanted.has(&one.service));
    Ok(json!(all))
}

/// A change as one line, or as a line a service.
fn line(change: &Change, states: &States) -> std::io::Result<()> {
    let mut out = show::out();
    match change {
        Change::Snapshot => {
            for (name, status) in states {
                writeln!(out, "{name} {}", condition(status.state.state).0)?;
            }
        }
        Change::Service(name, now) => writeln!(out, "{name} {}", condition(*now).0)?,
        Change::Removed(name) => writeln!(out, "{name} removed")?,
        Change::Deployment(deployment) => {
            writeln!(out, "{} deployment {} {}", deployment.service, deployment.id, state(deployment.state).0)?;
        }
        Change::Figures => {}
    }
    out.flush()
}
