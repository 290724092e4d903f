//! The services: what each is made from, how it is set, and what somebody wants of it.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, deployments, json, micros, parse, time, to_json};
use crate::names::{
    BranchName, BuildArgs, BuildNames, CommitId, ContainerPort, HealthPath, HookKey, HostName, IdRange, ReleaseNumber,
    RepoPath, RepoUri, SecretName, ServiceId, ServiceName, StopSignal, Strategy, TemplateName, Volumes, Watch,
};
use crate::problem::Problem;

/// Where a service's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A repository on this host, begun from a template.
    Template(TemplateName),
    /// A repository elsewhere.
    External {
        /// Its address, without what is secret of it.
        uri: RepoUri,
        /// The Podman secret that holds that.
        secret: Option<SecretName>,
    },
}

/// What somebody wants of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desired {
    /// It was made and never started.
    Created,
    /// It shall run, over reboots too.
    Running,
    /// It shall not run, over reboots too.
    Stopped,
    /// It is being removed; a removal that was cut off is ended by maintenance.
    Deleted {
        /// With its volumes.
        volumes: bool,
    },
}

impl Desired {
    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Deleted { .. } => "deleted",
        }
    }

    /// Whether it is being removed, so that it counts as gone.
    #[must_use]
    pub fn is_deleted(self) -> bool {
        matches!(self, Self::Deleted { .. })
    }
}

/// A service's settings; a release keeps a copy of those that it was released with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Where the program listens in its container; else the image's first EXPOSE, else 8080.
    pub container_port: Option<ContainerPort>,
    /// A path that must answer 2xx or 3xx before traffic moves; else any answer does.
    pub health_path: Option<HealthPath>,
    /// How many seconds a new release may take until it is healthy; else the host's setting.
    pub health_timeout: Option<u32>,
    /// How many seconds lie between two runs of the image's health check once it is live; else the image says so.
    pub health_interval: Option<u32>,
    /// The service speaks no HTTP: a connection that stays open is enough.
    pub tcp: bool,
    /// Memory limit in MiB.
    pub memory_mib: Option<u64>,
    /// CPU limit in percent of one core.
    pub cpu_percent: Option<u32>,
    /// Host names beside `NAME.localhost`.
    pub domains: Vec<HostName>,
    /// Named volumes and where they are mounted.
    pub volumes: Volumes,
    /// How a new release takes the place of the one before; else as its image is known to need it.
    pub strategy: Option<Strategy>,
    /// How many seconds its program may take to stop; else Podman's own.
    pub stop_timeout: Option<u32>,
    /// The signal that asks it to; else its image's, else SIGTERM.
    pub stop_signal: Option<StopSignal>,
    /// How many releases are kept; else the host's setting.
    pub keep: Option<u32>,
    /// The folder of the repository that is built; else its top.
    pub root: Option<RepoPath>,
    /// The file below that folder which says how; else `Containerfile` or `Dockerfile`.
    pub containerfile: Option<RepoPath>,
    /// The files that a push must touch so that it is deployed.
    pub watch: Watch,
    /// What each build is given as arguments, for all to see.
    pub build_args: BuildArgs,
    /// The variables that each build is given as arguments.
    pub build_env: BuildNames,
    /// The variables that each build is given as secrets.
    pub build_secrets: BuildNames,
    /// What the repository's `podkeeper.toml` says counts for more than these.
    pub prefer_repository: bool,
    /// Whether a pushed commit whose message has a mark is not built, which it isn't without this.
    pub skip_marks: Option<bool>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its row.
    pub id: ServiceId,
    /// Its name.
    pub name: ServiceName,
    /// When it was made; what the journal holds from before belongs to another of the same name.
    pub created: Timestamp,
    /// Where its code comes from.
    pub source: Source,
    /// The branch that is deployed.
    pub branch: BranchName,
    /// Whether somebody has named that. Else the first that is pushed to an empty repository becomes it.
    pub branch_chosen: bool,
    /// The key that authorises its hook.
    pub hook_key: HookKey,
    /// What somebody wants of it.
    pub desired: Desired,
    /// Its ids in the user namespace.
    pub ids: IdRange,
    /// The release that has the traffic, or had it when the service was stopped.
    pub current: Option<ReleaseNumber>,
    /// Whether it has an address: where its current release, or else its first one, listens nowhere, it has none.
    pub has_address: bool,
    /// Its settings, for the next release.
    pub settings: Settings,
}

impl Service {
    /// Whether its repository lies on this host.
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        matches!(self.source, Source::Template(_))
    }
}

/// A branch that a service gets.
#[derive(Debug, Clone)]
pub struct NewBranch {
    /// Its name.
    pub name: BranchName,
    /// What it holds already.
    pub head: Option<CommitId>,
}

/// What makes a service.
#[derive(Debug, Clone)]
pub struct NewService {
    /// Its name.
    pub name: ServiceName,
    /// Where its code comes from.
    pub source: Source,
    /// The branch to deploy.
    pub branch: BranchName,
    /// Whether somebody has named that.
    pub branch_chosen: bool,
    /// The key that authorises its hook.
    pub hook_key: HookKey,
    /// Its settings.
    pub settings: Settings,
    /// How many services this host takes.
    pub max: u32,
}

const COLUMNS: &str = "id, name, created, template, uri, uri_secret, branch, hook_key, desired, id_slot, \
     current_release, settings, volumes_go, branch_chosen, \
     (SELECT r.container_port <> 0 FROM releases r WHERE r.service = services.id AND r.number = current_release)";

fn read_row(row: &Row<'_>) -> Result<Service, StoreError> {
    let template: Option<String> = row.get(3)?;
    let uri: Option<String> = row.get(4)?;
    let source = match (template, uri) {
        (Some(template), _) => Source::Template(parse(&template, "template")?),
        (None, Some(uri)) => {
            let secret: Option<String> = row.get(5)?;
            let uri = RepoUri::stored(&uri, secret.is_some()).map_err(|_| StoreError::Corrupt { what: "uri" })?;
            Source::External { uri, secret: secret.map(|name| parse(&name, "secret")).transpose()? }
        }
        (None, None) => return Err(StoreError::Corrupt { what: "source" }),
    };
    let desired = match row.get::<_, String>(8)?.as_str() {
        "created" => Desired::Created,
        "running" => Desired::Running,
        "stopped" => Desired::Stopped,
        "deleted" => Desired::Deleted { volumes: row.get(12)? },
        _ => return Err(StoreError::Corrupt { what: "desired" }),
    };
    let settings: Settings = json(&row.get::<_, String>(11)?, "settings")?;
    let listens = row.get::<_, Option<bool>>(14)?;
    Ok(Service {
        id: row.get(0)?,
        name: parse(&row.get::<_, String>(1)?, "name")?,
        created: time(row.get(2)?, "created")?,
        source,
        branch: parse(&row.get::<_, String>(6)?, "branch")?,
        branch_chosen: row.get(13)?,
        hook_key: parse(&row.get::<_, String>(7)?, "hook_key")?,
        desired,
        ids: IdRange::of_slot(row.get(9)?),
        current: row.get::<_, Option<u32>>(10)?.map(ReleaseNumber),
        has_address: listens.unwrap_or(settings.container_port != Some(ContainerPort::None)),
        settings,
    })
}

/// The service named `name`, whatever is wanted of it, inside a transaction.
pub(super) fn find(connection: &rusqlite::Connection, name: &ServiceName) -> Result<Option<Service>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM services WHERE name = ?1"))?;
    statement.query_row([name.as_str()], |row| Ok(read_row(row))).optional()?.transpose()
}

/// The same, where a service that is being removed counts as gone.
pub(super) fn find_kept(connection: &rusqlite::Connection, name: &ServiceName) -> Result<Service, StoreError> {
    find(connection, name)?
        .filter(|service| !service.desired.is_deleted())
        .ok_or_else(|| StoreError::NoService(name.to_string()))
}

pub(super) fn set_desired(transaction: &Transaction<'_>, id: ServiceId, desired: Desired) -> Result<(), StoreError> {
    let volumes_go = matches!(desired, Desired::Deleted { volumes: true });
    transaction.execute(
        "UPDATE services SET desired = ?2, volumes_go = ?3 WHERE id = ?1",
        params![id, desired.as_str(), volumes_go],
    )?;
    Ok(())
}

impl Store {
    /// Makes a service and allots its ids; nothing of it runs yet.
    pub async fn create_service(&self, new: NewService) -> Result<Service, StoreError> {
        self.write(move |transaction| {
            if find(transaction, &new.name)?.is_some() {
                return Err(StoreError::NameTaken(new.name.to_string()));
            }
            let slot = free_slot(transaction, &new)?;
            let (template, uri, secret) = match &new.source {
                Source::Template(template) => (Some(template.as_str()), None, None),
                Source::External { uri, secret } => {
                    (None, Some(uri.to_string()), secret.as_ref().map(SecretName::as_str))
                }
            };
            transaction.execute(
                "INSERT INTO services (name, created, template, uri, uri_secret, branch, hook_key, desired, id_slot, \
                 settings, branch_chosen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'created', ?8, ?9, ?10)",
                params![
                    new.name.as_str(),
                    micros(Timestamp::now()),
                    template,
                    uri,
                    secret,
                    new.branch.as_str(),
                    new.hook_key.as_str(),
                    slot,
                    to_json(&new.settings, "settings")?,
                    new.branch_chosen
                ],
            )?;
            find_kept(transaction, &new.name)
        })
        .await
    }

    /// The service named `name`. One that is being removed counts as gone.
    pub async fn service(&self, name: &ServiceName) -> Result<Service, StoreError> {
        let name = name.clone();
        self.read(move |connection| find_kept(connection, &name)).await
    }

    /// The same, one that is being removed too.
    pub async fn find_service(&self, name: &ServiceName) -> Result<Service, StoreError> {
        let name = name.clone();
        self.read(move |connection| find(connection, &name)?.ok_or_else(|| StoreError::NoService(name.to_string())))
            .await
    }

    /// All services by name, those that are being removed too.
    pub async fn services(&self) -> Result<Vec<Service>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM services ORDER BY name"))?;
            let mut rows = statement.query([])?;
            let mut services = Vec::new();
            while let Some(row) = rows.next()? {
                services.push(read_row(row)?);
            }
            Ok(services)
        })
        .await
    }

    /// Writes down what somebody wants of a service.
    pub async fn set_desired(&self, name: &ServiceName, desired: Desired) -> Result<Service, StoreError> {
        let name = name.clone();
        self.write(move |transaction| {
            let service = find_kept(transaction, &name)?;
            set_desired(transaction, service.id, desired)?;
            Ok(Service { desired, ..service })
        })
        .await
    }

    /// Changes a service's settings, and its branch where there is another: `change` is given them as they are when they
    /// are written, so that of two changes at once none is lost. What it refuses changes nothing. What the new branch
    /// holds already is nobody's push.
    pub async fn change_settings(
        &self,
        name: &ServiceName,
        branch: Option<NewBranch>,
        change: impl FnOnce(Settings) -> Result<Settings, Problem> + Send + 'static,
    ) -> Result<Result<Service, Problem>, StoreError> {
        let name = name.clone();
        self.write(move |transaction| {
            let before = find_kept(transaction, &name)?;
            let new = branch.as_ref().map(|branch| &branch.name);
            let service = match changed(transaction, before.clone(), new, change)? {
                Ok(service) => service,
                Err(problem) => return Ok(Err(problem)),
            };
            if branch.is_some() {
                transaction.execute("UPDATE services SET follows_head = 0 WHERE id = ?1", [service.id])?;
            }
            if let Some(head) = branch.filter(|_| service.branch != before.branch).and_then(|branch| branch.head) {
                deployments::see(transaction, service.id, &head)?;
            }
            let settings = to_json(&service.settings, "settings")?;
            transaction.execute(
                "UPDATE services SET branch = ?2, settings = ?3, branch_chosen = ?4 WHERE id = ?1",
                params![service.id, service.branch.as_str(), settings, service.branch_chosen],
            )?;
            Ok(Ok(service))
        })
        .await
    }

    /// Gives a service whose branch nobody has named the first one that was pushed, unless somebody has named one since.
    /// What it holds is somebody's push.
    pub async fn adopt_branch(&self, id: ServiceId, branch: &BranchName) -> Result<(), StoreError> {
        let branch = branch.clone();
        self.write(move |transaction| {
            let sql = "UPDATE services SET branch = ?2, branch_chosen = 1 WHERE id = ?1 AND NOT branch_chosen";
            transaction.execute(sql, params![id, branch.as_str()])?;
            Ok(())
        })
        .await
    }

    /// The service as it is, and as the same change would leave it. Nothing is written.
    pub async fn plan_settings(
        &self,
        name: &ServiceName,
        branch: Option<BranchName>,
        change: impl FnOnce(Settings) -> Result<Settings, Problem> + Send + 'static,
    ) -> Result<Result<(Service, Service), Problem>, StoreError> {
        let name = name.clone();
        self.read(move |connection| {
            let before = find_kept(connection, &name)?;
            let after = changed(connection, before.clone(), branch.as_ref(), change)?;
            Ok(after.map(|after| (before, after)))
        })
        .await
    }

    /// Forgets a service and all that belongs to it; the last step of its removal. Its ids are kept for the next service
    /// of its name, until [`Store::free_ids`] gives them away.
    pub async fn forget_service(&self, id: ServiceId) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO kept_ids (name, id_slot) SELECT name, id_slot FROM services WHERE id = ?1",
                [id],
            )?;
            transaction.execute("DELETE FROM services WHERE id = ?1", [id])?;
            Ok(())
        })
        .await
    }

    /// The names of removed services whose ids are kept.
    pub async fn kept_ids(&self) -> Result<Vec<ServiceName>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT name FROM kept_ids ORDER BY name")?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?;
            names.map(|name| parse(&name?, "kept name")).collect()
        })
        .await
    }

    /// Gives the ids away that were kept for the name of a removed service.
    pub async fn free_ids(&self, name: &ServiceName) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(move |transaction| {
            transaction.execute("DELETE FROM kept_ids WHERE name = ?1", [name.as_str()])?;
            Ok(())
        })
        .await
    }
}

/// The ids for a new service: those that were kept for its name, or the first that nobody has and none are kept of.
fn free_slot(transaction: &Transaction<'_>, new: &NewService) -> Result<u32, StoreError> {
    let services: u32 = transaction.query_row("SELECT count(*) FROM services", [], |row| row.get(0))?;
    if services >= new.max {
        return Err(StoreError::Full);
    }
    let kept = "DELETE FROM kept_ids WHERE name = ?1 RETURNING id_slot";
    if let Some(slot) = transaction.query_row(kept, [new.name.as_str()], |row| row.get(0)).optional()? {
        return Ok(slot);
    }
    let taken: HashSet<u32> = transaction
        .prepare("SELECT id_slot FROM services UNION SELECT id_slot FROM kept_ids")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    // How many services a host takes is also how many ranges of ids it has.
    (0..new.max.min(IdRange::SERVICES)).find(|slot| !taken.contains(slot)).ok_or(StoreError::NoIds)
}

/// A service with its settings changed, and its branch where there is another.
fn changed(
    connection: &Connection,
    mut service: Service,
    branch: Option<&BranchName>,
    change: impl FnOnce(Settings) -> Result<Settings, Problem>,
) -> Result<Result<Service, Problem>, StoreError> {
    service.settings = match change(service.settings) {
        Ok(settings) => settings,
        Err(problem) => return Ok(Err(problem)),
    };
    check_domains(connection, service.id, &service.settings)?;
    if let Some(branch) = branch {
        (service.branch, service.branch_chosen) = (branch.clone(), true);
    }
    Ok(Ok(service))
}

/// Each host name leads to one service: a second one would take the first one's traffic.
fn check_domains(connection: &Connection, service: ServiceId, settings: &Settings) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM services, json_each(settings, '$.domains') AS domain WHERE services.id <> ?1 AND domain.value = ?2",
    )?;
    for (index, domain) in settings.domains.iter().enumerate() {
        let twice = settings.domains[..index].contains(domain);
        if twice || statement.exists(params![service, domain.as_str()])? {
            return Err(StoreError::DomainTaken(domain.to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{new_service, store};
    use super::*;

    #[tokio::test]
    async fn a_service_has_ids_of_its_own_that_are_given_to_another_only_when_its_volumes_are_gone() {
        let (_folder, store) = store();
        let first = store.create_service(new_service("a")).await.unwrap();
        let second = store.create_service(new_service("b")).await.unwrap();
        assert_eq!((first.ids.base, second.ids.base), (1, 65_537));
        assert!(matches!(store.create_service(new_service("a")).await, Err(StoreError::NameTaken(_))));
        store.create_service(new_service("c")).await.unwrap();
        assert!(matches!(store.create_service(new_service("d")).await, Err(StoreError::Full)));
        store.forget_service(first.id).await.unwrap();
        assert!(matches!(store.create_service(new_service("d")).await, Err(StoreError::NoIds)));
        // Its name comes back, and with it what its volumes belong to.
        let first = store.create_service(new_service("a")).await.unwrap();
        assert_eq!(first.ids.base, 1);
        store.forget_service(first.id).await.unwrap();
        assert_eq!(store.kept_ids().await.unwrap(), ["a".parse().unwrap()]);
        store.free_ids(&first.name).await.unwrap();
        assert_eq!(store.create_service(new_service("d")).await.unwrap().ids, first.ids);
    }

    #[tokio::test]
    async fn whoever_ends_a_removal_reads_whether_the_volumes_go() {
        let (folder, store) = store();
        for (name, volumes) in [("a", true), ("b", false)] {
            let name = store.create_service(new_service(name)).await.unwrap().name;
            store.end_service(&name, Desired::Deleted { volumes }).await.unwrap();
            let again = Store::open(&folder.path().join("agent/store.db")).unwrap();
            assert_eq!(again.find_service(&name).await.unwrap().desired, Desired::Deleted { volumes });
            assert!(matches!(again.service(&name).await, Err(StoreError::NoService(_))));
        }
    }

    #[tokio::test]
    async fn a_domain_leads_to_one_service() {
        let (_folder, store) = store();
        let first = store.create_service(new_service("a")).await.unwrap();
        store.create_service(new_service("b")).await.unwrap();
        let with = |domains: &[&str]| Settings {
            domains: domains.iter().map(|domain| domain.parse().unwrap()).collect(),
            ..Settings::default()
        };
        let set = |name: &str, settings| {
            let name = name.parse().unwrap();
            let store = store.clone();
            async move { store.change_settings(&name, None, |_| Ok(settings)).await }
        };
        set("a", with(&["one.example", "two.example"])).await.unwrap().unwrap();
        set("a", with(&["one.example"])).await.unwrap().unwrap();
        let taken = set("b", with(&["one.example"])).await;
        assert!(matches!(taken, Err(StoreError::DomainTaken(domain)) if domain == "one.example"));
        assert!(matches!(set("b", with(&["c.example", "c.example"])).await, Err(StoreError::DomainTaken(_))));
        set("b", with(&["two.example"])).await.unwrap().unwrap();
        store.forget_service(first.id).await.unwrap();
        set("b", with(&["one.example"])).await.unwrap().unwrap();
    }
}
