//! Brings the host to what the store says, a service at a time. It is level-triggered: it looks at the host anew each
//! time, so a step that was cut off, or a file that somebody removed, costs a delay and nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use tracing::Instrument;

use super::plan::{DesiredState, ObservedRelease, ObservedState, Step, make_way, plan};
use super::{ServiceError, Services, spec};
use crate::events::Event;
use crate::names::{HostName, ReleaseName, ReleaseNumber, ServiceName};
use crate::proxy::ProxyError;
use crate::store::{Desired, Release, Service};
use crate::units::{ActiveState, JobResult};

/// How long a unit may take to stop. Its own `TimeoutStopSec` is shorter.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(330);

/// What the host shows of all services, by one look each at the files, the units and the routes.
#[derive(Debug, Default)]
pub struct HostView {
    releases: HashMap<ServiceName, BTreeMap<ReleaseNumber, ObservedRelease>>,
    routes: BTreeMap<HostName, Vec<u16>>,
    /// The hosts whose routes can't be read: nobody but their service waits for that.
    unread: BTreeMap<HostName, ProxyError>,
}

impl HostView {
    /// Looks at the host.
    ///
    /// # Errors
    /// The releases' files, the units or the folder of the routes can't be read.
    pub async fn look(services: &Services) -> Result<Self, ServiceError> {
        let mut view = Self::default();
        for file in services.uses.quadlets.list().await? {
            let seen = view.seen(&file.release);
            seen.file = true;
            seen.live = file.live;
        }
        for unit in services.uses.units.units(&[ReleaseName::UNITS.to_owned()]).await? {
            if let Some(release) = ReleaseName::of_unit(&unit.name) {
                let seen = view.seen(&release);
                seen.running = unit.active.runs();
                seen.failed = unit.active == ActiveState::Failed;
            }
        }
        for (host, ports) in services.uses.routes.hosts().await? {
            match ports {
                Ok(ports) => drop(view.routes.insert(host, ports)),
                Err(error) => drop(view.unread.insert(host, error)),
            }
        }
        Ok(view)
    }

    /// Whether it shows all routes.
    #[must_use]
    pub fn has_all_routes(&self) -> bool {
        self.unread.is_empty()
    }

    fn seen(&mut self, release: &ReleaseName) -> &mut ObservedRelease {
        self.releases.entry(release.service.clone()).or_default().entry(release.number).or_default()
    }

    /// The routes that are nobody's: no service has the host name, and no release the port, which is one of those that
    /// only releases have. Where the host shows a release of a service that isn't known, a route may be that one's, and
    /// none is nobody's.
    fn nobodys(
        &self,
        services: &HashSet<ServiceName>,
        hosts: &HashSet<HostName>,
        ports: &HashSet<u16>,
        range: &RangeInclusive<u16>,
    ) -> Vec<(HostName, u16)> {
        if self.releases.keys().any(|name| !services.contains(name)) {
            return Vec::new();
        }
        let others = self.routes.iter().filter(|(host, _)| !hosts.contains(*host));
        let others = others.flat_map(|(host, ports)| ports.iter().map(move |port| (host.clone(), *port)));
        others.filter(|(_, port)| range.contains(port) && !ports.contains(port)).collect()
    }

    fn of(&self, service: &Service, hosts: &[HostName], releases: &[Release]) -> ObservedState {
        let ports = |host: &HostName| self.routes.get(host).map_or(&[][..], Vec::as_slice);
        let mut routes: Vec<u16> = hosts.iter().flat_map(ports).copied().collect();
        routes.sort_unstable();
        routes.dedup();
        let whole = |port: &&u16| hosts.iter().all(|host| ports(host).contains(port));
        let whole_routes = routes.iter().filter(whole).copied().collect();
        let others = self.routes.iter().filter(|(host, _)| !hosts.contains(host));
        let others = others.flat_map(|(host, ports)| ports.iter().map(move |port| (host, *port)));
        let owned = |port: u16| releases.iter().any(|release| release.port == port);
        let strays = others.filter(|(_, port)| owned(*port)).map(|(host, port)| (host.clone(), port)).collect();
        let releases = self.releases.get(&service.name).cloned().unwrap_or_default();
        ObservedState { releases, routes, whole_routes, strays }
    }
}

/// What is left to be done once the traffic is where it belongs.
#[derive(Debug)]
pub struct ClearUp(Vec<Step>);

/// What is wanted of a service, by its rows.
fn wanted(service: &Service, releases: &[Release], failed: &[ReleaseNumber], keep: usize, start: bool) -> DesiredState {
    let running = service.desired == Desired::Running;
    // The release with the traffic is kept whatever its number is, and the newest beside it.
    let mut newest: Vec<&Release> = releases.iter().rev().collect();
    newest.sort_by_key(|release| Some(release.number) != service.current);
    let mut wanted = DesiredState { current: service.current.filter(|_| running), start, ..DesiredState::default() };
    for release in newest {
        let is_current = Some(release.number) == service.current;
        let keep = is_current || (wanted.kept.len() < keep && !failed.contains(&release.number));
        let into = if keep { &mut wanted.kept } else { &mut wanted.pruned };
        into.insert(release.number, release.routed_port());
    }
    wanted
}

impl Services {
    /// What would have to be done for `service`.
    ///
    /// # Errors
    /// The store, or the route of one of its hosts, can't be read.
    pub async fn pending(&self, service: &Service, view: &HostView, start: bool) -> Result<Vec<Step>, ServiceError> {
        let releases = self.uses.store.releases(service.id).await?;
        let failed = self.uses.store.failed_releases(service.id).await?;
        let keep = service.settings.keep.unwrap_or(self.uses.config.get().services.keep).max(1) as usize;
        let hosts = spec::hosts(service, &self.uses.config.get());
        if let Some(error) = hosts.iter().find_map(|host| view.unread.get(host)) {
            return Err(error.clone().into());
        }
        let observed = view.of(service, &hosts, &releases);
        let mut wanted = wanted(service, &releases, &failed, keep, start);
        // What runs counts as well as what is to: it has the same volumes.
        let runs = |number| observed.releases.get(&number).is_some_and(|seen| seen.running);
        wanted.alone = releases
            .iter()
            .any(|release| release.runs_alone() && (Some(release.number) == service.current || runs(release.number)));
        Ok(plan(&wanted, &observed))
    }

    /// Does what is to be done for `service`, without starting anything; it must not be called beside a deployment of the
    /// same service, but by it.
    ///
    /// # Errors
    /// The host can't be seen, or a step fails: those behind it are not taken.
    pub async fn reconcile(&self, service: &Service) -> Result<(), ServiceError> {
        let rest = self.switch(service, false).await?;
        self.clear_up(service, rest).await
    }

    /// Brings the traffic where it belongs, after starting what it shall go to where `start` says so. What is old is still
    /// there: that is for [`Services::clear_up`].
    ///
    /// # Errors
    /// The host can't be seen, or a step fails: those behind it are not taken.
    pub async fn switch(&self, service: &Service, start: bool) -> Result<ClearUp, ServiceError> {
        let view = HostView::look(self).await?;
        let mut steps = self.pending(service, &view, start).await?;
        // What follows these only clears up. What makes way comes before a start.
        let clears =
            |step: &Step| matches!(step, Step::Drain | Step::Stop(_) | Step::ResetFailed(_) | Step::Discard(_));
        let started = steps.iter().position(|step| matches!(step, Step::Start(_))).unwrap_or(0);
        let rest = steps[started..].iter().position(clears).map_or(steps.len(), |at| started + at);
        let rest = steps.split_off(rest);
        for step in &steps {
            self.take(service, step).await?;
        }
        Ok(ClearUp(rest))
    }

    /// Ends what runs of the service beside `release`, which must not: until that one has the traffic, nobody answers.
    ///
    /// # Errors
    /// The host can't be seen, or a unit can't be stopped.
    pub async fn make_way(&self, service: &Service, release: ReleaseNumber) -> Result<(), ServiceError> {
        let view = HostView::look(self).await?;
        for step in make_way(release, &view.of(service, &[], &[])) {
            self.take(service, &step).await?;
        }
        Ok(())
    }

    /// Starts the release that has the traffic again, which had made way.
    ///
    /// # Errors
    /// The unit can't be started, or the host does not do the rest of what is wanted.
    pub async fn start_again(&self, service: &Service) -> Result<(), ServiceError> {
        if let Some(current) = service.current {
            // Also one that is still being stopped, which looks as if it ran.
            self.take(service, &Step::Start(current)).await?;
        }
        self.reconcile(service).await
    }

    /// Drains, stops and removes what is old.
    ///
    /// # Errors
    /// A step fails: those behind it are not taken.
    pub async fn clear_up(&self, service: &Service, rest: ClearUp) -> Result<(), ServiceError> {
        // Where a deployment has brought us here, it is over, and what is said from now on is not told as its own.
        let span = tracing::info_span!(parent: None, "clearing", service = %service.name);
        async {
            for step in &rest.0 {
                self.take(service, step).await?;
            }
            self.discard_unused_secrets(service).await?;
            self.uses.events.publish(Event::Service(service.name.clone()));
            Ok(())
        }
        .instrument(span)
        .await
    }

    pub(super) async fn take(&self, service: &Service, step: &Step) -> Result<(), ServiceError> {
        let release = |number: &ReleaseNumber| ReleaseName::new(&service.name, *number);
        tracing::debug!(service = %service.name, step = ?step, "reconcile");
        match step {
            Step::Write(number) => self.write_release(service, *number).await?,
            Step::SetLive(number) => self.uses.quadlets.set_live(&release(number), true).await?,
            Step::ClearLive(number) => self.uses.quadlets.set_live(&release(number), false).await?,
            Step::Reload => self.uses.units.reload().await?,
            Step::Start(number) => {
                let unit = release(number).unit();
                let result =
                    self.uses.units.start(&unit, self.uses.config.get().services.health_timeout + STOP_LIMIT).await?;
                if result != JobResult::Done {
                    tracing::warn!(service = %service.name, unit, result = ?result, "the unit did not start");
                }
            }
            Step::Route(port) => {
                for host in spec::hosts(service, &self.uses.config.get()) {
                    self.uses.routes.add(&host, *port).await?;
                }
            }
            // The proxy looks the folder up at each request.
            Step::Settle => tokio::time::sleep(self.uses.config.get().services.settle).await,
            Step::Unroute(port) => {
                for host in spec::hosts(service, &self.uses.config.get()) {
                    self.uses.routes.remove(&host, *port).await?;
                }
            }
            Step::Withdraw(host, port) => self.uses.routes.remove(host, *port).await?,
            Step::Drain => tokio::time::sleep(self.uses.config.get().services.drain).await,
            Step::Stop(number) => {
                self.uses.units.stop(&release(number).unit(), STOP_LIMIT).await?;
                self.uses.units.reset_failed(&release(number).unit()).await?;
            }
            Step::ResetFailed(number) => self.uses.units.reset_failed(&release(number).unit()).await?,
            Step::Discard(number) => self.discard_release(service, *number).await?,
        }
        Ok(())
    }

    /// Withdraws the routes that are nobody's, which only an older agent or another machine's can have left: another
    /// release will have the port one day.
    ///
    /// # Errors
    /// The store or a route can't be read, or one can't be withdrawn: the others are.
    pub async fn withdraw_nobodys(&self, view: &HostView) -> Result<(), ServiceError> {
        // Read after the look: whatever had a route by then has its rows, and no new release takes a routed port.
        let services = self.uses.store.services().await?;
        let ports = self.uses.store.ports().await?.into_iter().collect();
        let config = self.uses.config.get();
        let hosts: HashSet<HostName> = services.iter().flat_map(|service| spec::hosts(service, &config)).collect();
        let names = services.into_iter().map(|service| service.name).collect();
        let range = config.services.first_port..=config.services.last_port;
        // What can't be read of a service's own is that one's trouble.
        let unread = view.unread.iter().find(|(host, _)| !hosts.contains(host));
        let mut withdrawn = unread.map_or(Ok(()), |(_, error)| Err(error.clone().into()));
        for (host, port) in view.nobodys(&names, &hosts, &ports, &range) {
            tracing::info!("{host} leads to port {port} no longer: no service has the name, and no release the port");
            // One that can't be removed keeps no other.
            withdrawn = withdrawn.and(self.uses.routes.remove(&host, port).await.map_err(ServiceError::from));
        }
        withdrawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_nobodys_where_nothing_has_its_name_or_its_port() {
        let host = |name: &str| name.parse::<HostName>().unwrap();
        let name = |name: &str| name.parse::<ServiceName>().unwrap();
        let mut view = HostView::default();
        view.seen(&ReleaseName::new(&name("blog"), ReleaseNumber(1))).running = true;
        // The last two are a route to a release that drains under a name that was its service's, and one that somebody
        // made to a program of their own.
        for (from, port) in
            [("blog.localhost", 20_001), ("gone.localhost", 20_009), ("old.localhost", 20_002), ("own.localhost", 9)]
        {
            view.routes.insert(host(from), vec![port]);
        }
        let hosts = [host("blog.localhost")].into();
        let nobodys = |services: &[&str]| {
            let services = services.iter().copied().map(name).collect();
            view.nobodys(&services, &hosts, &[20_001, 20_002].into(), &(20_000..=29_999))
        };
        assert_eq!(nobodys(&["blog", "shop"]), [(host("gone.localhost"), 20_009)]);
        // It may be the one of a service whose row is lost.
        assert_eq!(nobodys(&["shop"]), []);
    }
}
