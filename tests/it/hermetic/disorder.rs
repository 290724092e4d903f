//! What of a host is not as its agent's rows say: what is missing, what is there twice, and what was left behind.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::time::Duration;

use podkeeper::names::{EnvValue, ReleaseName, SecretName, ServiceName};
use podkeeper::services::spec;
use podkeeper::store::{Desired, Release, Service, Source};
use tokio::time::Instant;

use super::TestHost;

/// How long a host may take until it is in order: only one that never will be takes so long.
const ORDER: Duration = Duration::from_secs(60);

fn listed(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// What one thing of the host shall be.
#[derive(Default)]
struct Wanted {
    images: BTreeSet<String>,
    files: BTreeSet<String>,
    live: BTreeSet<String>,
    containers: BTreeSet<String>,
    units: BTreeSet<String>,
    routes: BTreeMap<String, BTreeSet<String>>,
    secrets: HashSet<String>,
    ports: BTreeSet<u16>,
}

impl Wanted {
    fn add(&mut self, host: &TestHost, service: &Service, releases: &[Release], env: Vec<EnvValue>) {
        let secrets = env.iter().chain(releases.iter().flat_map(|release| release.env.values()));
        self.secrets.extend(secrets.filter_map(EnvValue::secret).map(|secret| secret.as_str().to_owned()));
        if let Source::External { secret: Some(secret), .. } = &service.source {
            self.secrets.insert(secret.as_str().to_owned());
        }
        for release in releases {
            let name = ReleaseName::new(&service.name, release.number);
            self.images.insert(name.image());
            self.files.insert(name.quadlet_file());
            if service.desired == Desired::Running && service.current == Some(release.number) {
                self.live.insert(name.drop_ins());
                self.containers.insert(name.container());
                self.units.insert(name.unit());
                let Some(port) = release.routed_port() else { continue };
                self.ports.insert(port);
                for own in spec::hosts(service, &host.config) {
                    self.routes.entry(own.to_string()).or_default().insert(port.to_string());
                }
            }
        }
    }
}

/// What of these is there and shall not be, and the other way round.
fn differ(what: &str, wanted: &BTreeSet<String>, found: &BTreeSet<String>, into: &mut Vec<String>) {
    into.extend(wanted.difference(found).map(|name| format!("{what} {name} is missing")));
    into.extend(found.difference(wanted).map(|name| format!("{what} {name} is left")));
}

impl TestHost {
    /// What is not in order at the moment.
    pub async fn disorder(&self) -> Vec<String> {
        let store = &self.parts().store;
        let (mut wanted, mut said) = (Wanted::default(), Vec::new());
        for service in store.services().await.unwrap() {
            let name = &service.name;
            if service.desired.is_deleted() {
                said.push(format!("{name} is being removed"));
                continue;
            }
            let waiting = store.unfinished(name).await.unwrap();
            said.extend(
                waiting.iter().map(|deployment| format!("{name} has {} {:?}", deployment.id, deployment.state)),
            );
            let env = store.env(name).await.unwrap().into_values().collect();
            wanted.add(self, &service, &store.releases(service.id).await.unwrap(), env);
        }
        let folder = Path::new(self.config.paths.quadlets.as_str());
        let (mut drop_ins, files): (BTreeSet<_>, _) = listed(folder).into_iter().partition(|name| name.ends_with(".d"));
        // An empty one, which an agent left that died as it removed it, means nothing and goes with its release.
        drop_ins.retain(|name| folder.join(name).join("live.conf").exists());
        differ("file", &wanted.files, &files, &mut said);
        differ("drop-in", &wanted.live, &drop_ins, &mut said);
        let routes = Path::new(self.config.paths.routes.as_str());
        let hosts = listed(routes);
        differ("route of", &wanted.routes.keys().cloned().collect(), &hosts, &mut said);
        for (own, ports) in &wanted.routes {
            differ(&format!("route of {own} to"), ports, &listed(&routes.join(own)), &mut said);
        }
        differ("build", &BTreeSet::new(), &listed(&self.config.paths.contexts()), &mut said);
        let checks = listed(&self.config.paths.user_units());
        let known: HashSet<String> = wanted
            .files
            .iter()
            .filter_map(|file| ReleaseName::of_quadlet_file(file))
            .map(|release| release.check_service())
            .collect();
        let left = checks.iter().filter(|name| !known.contains(&name.replace(".timer", ".service")));
        said.extend(left.map(|name| format!("check {name} is left")));
        self.look_at_world(&wanted, &mut said);
        said
    }

    fn look_at_world(&self, wanted: &Wanted, said: &mut Vec<String>) {
        let world = self.world();
        let images = world.images.values().flat_map(|image| image.names.iter().cloned()).collect();
        differ("image", &wanted.images, &images, said);
        differ("container", &wanted.containers, &world.containers.keys().cloned().collect(), said);
        differ("unit", &wanted.units, &world.units.keys().cloned().collect(), said);
        let secrets: BTreeSet<String> = world.secrets.keys().cloned().collect();
        differ("secret", &wanted.secrets.iter().cloned().collect(), &secrets, said);
        let answering = world.ports.keys().copied();
        said.extend(answering.filter(|port| !wanted.ports.contains(port)).map(|port| format!("port {port} answers")));
    }

    /// Waits until all is in order: nothing is under way, each service that shall run has the traffic by its one release, and
    /// nothing is left of anything else.
    pub async fn in_order(&self) {
        let end = Instant::now() + ORDER;
        loop {
            let said = self.disorder().await;
            if said.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "the host is never in order: {said:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The release that has the traffic of a service, by its routes.
    pub async fn routed(&self, name: &ServiceName) -> Vec<u32> {
        let service = self.service(name).await;
        let host = spec::hosts(&service, &self.config).remove(0);
        let ports = listed(&Path::new(self.config.paths.routes.as_str()).join(host.as_str()));
        let releases = self.parts().store.releases(service.id).await.unwrap();
        releases
            .iter()
            .filter(|release| ports.contains(&release.port.to_string()))
            .map(|release| release.number.0)
            .collect()
    }

    /// The values of a service's variables, as Podman has them.
    pub fn secrets_of(&self, name: &ServiceName) -> Vec<String> {
        let world = self.world();
        let own = world
            .secrets
            .iter()
            .filter(|(secret, _)| secret.parse::<SecretName>().is_ok_and(|secret| secret.service() == name));
        own.map(|(_, value)| value.clone()).collect()
    }
}
