//! How everything is: one look for everybody who listens.
//!
//! Events only say that something changed. One task looks at the host, a moment after the first of several, and keeps
//! what it saw with a number a change; each client has its own place in those numbers. However slow it is, what waits
//! for it is the newest state of each service and nothing else.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::uses::Uses;
use crate::api::deployments::Deployment;
use crate::api::live::{Removed, ServiceState, Snapshot};
use crate::api::status::{Figures, State};
use crate::deploys;
use crate::events::Event;
use crate::names::{DeploymentId, ServiceName};
use crate::problem::chain;
use crate::services::ServiceError;

/// How long changes are collected until the host is looked at.
const COLLECT: Duration = Duration::from_millis(50);
/// How often figures are sent to whom asked for them.
const FIGURES: Duration = Duration::from_secs(2);
/// How long until the host is looked at again where it didn't answer.
const AGAIN: Duration = Duration::from_secs(2);
/// How many deployments, and how many removed services, are remembered for slow clients.
const REMEMBERED: usize = 256;

/// What everybody who listens is shown.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) view: watch::Sender<View>,
    pub(super) figures: watch::Sender<Arc<BTreeMap<ServiceName, Figures>>>,
    /// How many want figures.
    wanted: Arc<watch::Sender<usize>>,
    /// How often somebody asked for a snapshot.
    asked: watch::Sender<u64>,
}

/// What was seen, each thing with the number of its last change.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The services have been looked at, and every change since was told.
    seen: bool,
    /// Whoever asked so early finds everything here that had happened by then.
    answered: u64,
    pub(super) last: u64,
    /// Who has not seen this change yet may have missed one that is not remembered.
    pub(super) forgotten: u64,
    services: BTreeMap<ServiceName, (u64, State)>,
    removed: BTreeMap<ServiceName, u64>,
    deployments: BTreeMap<DeploymentId, Seen>,
}

#[derive(Debug)]
struct Seen {
    number: u64,
    ended: bool,
    deployment: Arc<Deployment>,
}

/// What waits to be looked at.
#[derive(Debug, Default)]
struct Waiting {
    services: bool,
    deployments: BTreeSet<DeploymentId>,
    /// Which are under way is not known any more.
    unfinished: bool,
}

impl Waiting {
    fn everything() -> Self {
        Self { services: true, deployments: BTreeSet::new(), unfinished: true }
    }

    fn is_empty(&self) -> bool {
        !self.services && !self.unfinished && self.deployments.is_empty()
    }

    fn add(&mut self, event: Result<Event, RecvError>) {
        match event {
            Ok(Event::Service(_) | Event::Removed(_)) => self.services = true,
            Ok(Event::Deployment(_, id)) => {
                self.services = true;
                self.deployments.insert(id);
            }
            Ok(Event::Any) | Err(RecvError::Lagged(_)) => {
                *self = Self { deployments: std::mem::take(&mut self.deployments), ..Self::everything() }
            }
            Ok(Event::Credentials) | Err(RecvError::Closed) => {}
        }
    }

    /// Adds what has come, without waiting for more.
    fn add_all(&mut self, events: &mut broadcast::Receiver<Event>) {
        loop {
            match events.try_recv() {
                Ok(event) => self.add(Ok(event)),
                Err(TryRecvError::Lagged(missed)) => self.add(Err(RecvError::Lagged(missed))),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

impl View {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn set_services(&mut self, states: BTreeMap<ServiceName, State>) {
        let gone: Vec<ServiceName> = self.services.keys().filter(|name| !states.contains_key(*name)).cloned().collect();
        for name in gone {
            self.services.remove(&name);
            let number = self.number();
            self.removed.insert(name, number);
        }
        for (name, state) in states {
            if self.services.get(&name).is_none_or(|(_, before)| *before != state) {
                self.removed.remove(&name);
                let number = self.number();
                self.services.insert(name, (number, state));
            }
        }
        while self.removed.len() > REMEMBERED {
            let Some(oldest) = self.removed.iter().min_by_key(|(_, number)| **number).map(|(name, _)| name.clone())
            else {
                break;
            };
            self.forgotten = self.forgotten.max(self.removed.remove(&oldest).unwrap_or(0));
        }
    }

    fn set_deployment(&mut self, row: deploys::Deployment, waits_for: Option<deploys::WaitsFor>) {
        let (id, ended, number) = (row.id, row.state.is_final(), self.number());
        self.deployments.insert(id, Seen { number, ended, deployment: Arc::new(Deployment::new(row, waits_for)) });
        while self.deployments.len() > REMEMBERED {
            let ended = self.deployments.iter().find(|(_, seen)| seen.ended).map(|(id, _)| *id);
            let Some(oldest) = ended.or_else(|| self.deployments.keys().next().copied()) else { break };
            let number = self.deployments.remove(&oldest).map_or(0, |seen| seen.number);
            self.forgotten = self.forgotten.max(number);
        }
    }

    /// The first change behind `seen` of what may be seen, and its number.
    pub(super) fn next(&self, seen: u64, sees: impl Fn(&ServiceName) -> bool) -> Option<(u64, Change<'_>)> {
        let services =
            self.services.iter().map(|(name, (number, state))| (*number, name, Change::Service(shown(name, state))));
        let removed = self
            .removed
            .iter()
            .map(|(name, number)| (*number, name, Change::Removed(Removed { name: Cow::Borrowed(name) })));
        let deployments = self
            .deployments
            .values()
            .map(|seen| (seen.number, &seen.deployment.service, Change::Deployment(&seen.deployment)));
        services
            .chain(removed)
            .chain(deployments)
            .filter(|(number, service, _)| *number > seen && sees(service))
            .min_by_key(|(number, ..)| *number)
            .map(|(number, _, change)| (number, change))
    }

    /// All that may be seen.
    pub(super) fn snapshot(&self, sees: impl Fn(&ServiceName) -> bool) -> Value {
        let services = self.services.iter().filter(|(name, _)| sees(name));
        let deployments = self.deployments.values().filter(|seen| !seen.ended && sees(&seen.deployment.service));
        json!(Snapshot {
            services: services.map(|(name, (_, state))| shown(name, state)).collect(),
            deployments: deployments.map(|seen| Cow::Borrowed(&*seen.deployment)).collect(),
        })
    }
}

/// What may have changed.
fn shown<'a>(name: &'a ServiceName, state: &'a State) -> ServiceState<'a> {
    ServiceState { name: Cow::Borrowed(name), state: Cow::Borrowed(state) }
}

pub(super) enum Change<'a> {
    Service(ServiceState<'a>),
    Removed(Removed<'a>),
    Deployment(&'a Deployment),
}

impl Change<'_> {
    pub(super) fn message(&self) -> (&'static str, Value) {
        match self {
            Self::Service(state) => ("service", json!(state)),
            Self::Removed(removed) => ("removed", json!(removed)),
            Self::Deployment(deployment) => ("deployment", json!(deployment)),
        }
    }
}

impl Feed {
    /// Looks at the host when something changed and somebody listens, and counts what the services use while somebody
    /// asks for it; for ever. A Podman that doesn't count holds nothing else up.
    pub(super) async fn run(&self, uses: &Uses) {
        tokio::join!(self.follow(uses), self.count(uses));
    }

    async fn follow(&self, uses: &Uses) {
        let mut events = uses.events.subscribe();
        let mut asked = self.asked.subscribe();
        let mut waiting = Waiting::default();
        let mut again = None;
        loop {
            tokio::select! {
                event = events.recv() => waiting.add(event),
                _ = asked.changed() => {}
                () = at(again) => again = None,
            }
            if self.view.receiver_count() == 0 {
                waiting = Waiting::default();
                self.view.send_modify(|view| *view = View { last: view.last, ..View::default() });
                continue;
            }
            // An event is rung before whoever caused it is answered: those from before the question are here by now.
            let mut asked_by_now = *asked.borrow_and_update();
            waiting.add_all(&mut events);
            if !self.view.borrow().seen {
                waiting = Waiting::everything();
            }
            if waiting.is_empty() || again.is_some() {
                self.answer(asked_by_now);
                continue;
            }
            sleep(COLLECT).await;
            asked_by_now = *asked.borrow_and_update();
            waiting.add_all(&mut events);
            match self.look(uses, &waiting).await {
                Ok(()) => waiting = Waiting::default(),
                Err(error) => {
                    tracing::debug!("can't see how the services are: {}", chain(&error));
                    again = Some(Instant::now() + AGAIN);
                }
            }
            self.answer(asked_by_now);
        }
    }

    /// Shows what was seen to whoever asked so far; where the host doesn't answer that is the newest there is.
    fn answer(&self, asked: u64) {
        self.view.send_if_modified(|view| view.seen && std::mem::replace(&mut view.answered, asked) != asked);
    }

    /// Waits for a view with everything that had happened when this was called.
    pub(super) async fn ask(&self, view: &mut watch::Receiver<View>) -> Result<(), watch::error::RecvError> {
        let mut mine = 0;
        self.asked.send_modify(|asked| {
            *asked += 1;
            mine = *asked;
        });
        view.wait_for(|view| view.answered >= mine).await.map(|_| ())
    }

    async fn look(&self, uses: &Uses, waiting: &Waiting) -> Result<(), ServiceError> {
        let states = uses.services.states().await?.into_iter().map(|(name, status)| (name, status.into())).collect();
        let mut rows = Vec::new();
        if waiting.unfinished {
            rows.extend(uses.deploys.unfinished().await?);
        }
        for id in &waiting.deployments {
            // One that is gone went with its service.
            rows.extend(uses.deploys.deployment(*id).await.ok());
        }
        self.view.send_modify(|view| {
            view.set_services(states);
            for row in rows {
                let waits_for = uses.deploys.waits_for(&row);
                view.set_deployment(row, waits_for);
            }
            view.seen = true;
        });
        Ok(())
    }

    async fn count(&self, uses: &Uses) {
        let mut wanted = self.wanted.subscribe();
        while wanted.wait_for(|askers| *askers > 0).await.is_ok() {
            let next = Instant::now() + FIGURES;
            match uses.services.figures().await {
                Ok(figures) => {
                    let figures = figures.into_iter().map(|(name, figures)| (name, figures.into())).collect();
                    self.figures.send_replace(Arc::new(figures));
                }
                Err(error) => tracing::debug!("can't see what the services use: {}", chain(&error)),
            }
            sleep_until(next).await;
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Somebody wants figures, for as long as this lives.
pub(super) struct FiguresSubscription(Arc<watch::Sender<usize>>);

impl FiguresSubscription {
    pub(super) fn new(feed: &Feed) -> Self {
        feed.wanted.send_modify(|askers| *askers += 1);
        Self(feed.wanted.clone())
    }
}

impl Drop for FiguresSubscription {
    fn drop(&mut self) {
        self.0.send_modify(|askers| *askers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::Condition;
    use crate::events::Events;

    /// A hundred services, each started again so often.
    fn states(restarts: u32) -> BTreeMap<ServiceName, State> {
        let state = || State {
            state: Condition::Running,
            sub_state: None,
            since: None,
            release: None,
            commit: None,
            restarts,
            recent_restarts: 0,
            health: None,
        };
        (0..100).map(|number| (format!("s{number}").parse().unwrap(), state())).collect()
    }

    /// What a client is sent that has seen all up to `seen`.
    fn sent(view: &View, mut seen: u64) -> Vec<Value> {
        let mut sent = Vec::new();
        while let Some((number, change)) = view.next(seen, |service| service.as_str() != "s7") {
            seen = number;
            sent.push(change.message().1);
        }
        sent
    }

    #[tokio::test]
    async fn who_missed_events_looks_at_everything() {
        let events = Events::new();
        let mut heard = events.subscribe();
        let id = DeploymentId(1);
        events.publish(Event::Deployment("s1".parse().unwrap(), id));
        let mut waiting = Waiting::default();
        waiting.add_all(&mut heard);
        assert!(waiting.services && !waiting.unfinished && waiting.deployments.contains(&id));
        for _ in 0..=Events::BACKLOG {
            events.publish(Event::Service("s1".parse().unwrap()));
        }
        waiting.add_all(&mut heard);
        assert!(waiting.services && waiting.unfinished && waiting.deployments.contains(&id));
        let mut waiting = Waiting::default();
        events.publish(Event::Any);
        waiting.add_all(&mut heard);
        assert!(waiting.services && waiting.unfinished, "maintenance rings for what was missed");
        drop(events);
        waiting.add_all(&mut heard);
    }

    #[test]
    fn however_often_services_change_a_slow_client_gets_the_newest_state_of_each() {
        let mut view = View::default();
        view.set_services(states(0));
        let before = view.last;
        for restarts in 1..=50 {
            view.set_services(states(restarts));
        }
        let all = sent(&view, before);
        assert_eq!(all.len(), 99);
        assert!(all.iter().all(|service| service["restarts"] == 50 && service["name"] != "s7"), "{all:?}");
        assert!(sent(&view, view.last).is_empty());
        let last = view.last;
        view.set_services(states(50));
        assert_eq!(view.last, last, "what stays as it is is no change");
        view.set_services(BTreeMap::new());
        assert_eq!(sent(&view, last).len(), 99, "all are gone");
        view.set_services(states(0));
        assert!(sent(&view, last).iter().all(|service| service["restarts"] == 0), "and are there again");
    }
}
