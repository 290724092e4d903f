//! The agent's state in SQLite: the only module that holds SQL. One file a table family.
//!
//! What is written here is the truth, and it is on the disk (`synchronous=FULL`) before anybody is told of it.

mod audit;
mod deployments;
mod disk;
mod env;
mod history;
mod hooks;
mod ids;
mod lane;
mod passkeys;
mod password;
mod refit;
mod releases;
mod services;
mod sessions;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction};
use thiserror::Error;

pub use audit::{AuditBounds, AuditCut, AuditEntry, AuditRow, AuditState};
pub use deployments::{Cause, Deployment, DeploymentPage, EndedService, NewDeployment, State};
pub use env::{EnvChange, EnvSecrets};
pub use hooks::{Delivered, HookDelivery, NewDelivery, NewOutcome, Outcome};
pub use passkeys::{LINK, NewPasskey, Passkey, Standing};
pub use password::GitPassword;
pub use releases::{NewRelease, Release};
pub use services::{Desired, NewBranch, NewService, Service, Settings, Source};
pub use sessions::{NewSession, Session, SignedBy};
pub use tokens::{Grant, SecretHash, Token};

use crate::problem::{Code, Problem};
use lane::{Reader, Writer, Writes};

/// The schema's steps, in order; `user_version` counts how many were taken.
const MIGRATIONS: [&str; 15] = [
    include_str!("migrations/001.sql"),
    include_str!("migrations/002.sql"),
    include_str!("migrations/003.sql"),
    include_str!("migrations/004.sql"),
    include_str!("migrations/005.sql"),
    include_str!("migrations/006.sql"),
    include_str!("migrations/007.sql"),
    include_str!("migrations/008.sql"),
    include_str!("migrations/009.sql"),
    include_str!("migrations/010.sql"),
    include_str!("migrations/011.sql"),
    include_str!("migrations/012.sql"),
    include_str!("migrations/013.sql"),
    include_str!("migrations/014.sql"),
    include_str!("migrations/015.sql"),
];

/// Why the store refused.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database can't be opened.
    #[error("can't open the store `{path}`")]
    Open {
        /// The database's file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The folder of the database can't be made.
    #[error("can't make the store's folder `{path}`")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A newer agent wrote this database.
    #[error("the store has schema {found}, and this agent knows up to {known}; install the newer agent again")]
    Newer {
        /// The database's schema.
        found: u32,
        /// The newest that this program knows.
        known: usize,
    },
    /// A statement failed.
    #[error("the store failed")]
    Sql(#[source] Arc<rusqlite::Error>),
    /// A row that can't be read back.
    #[error("the store holds a bad `{what}`")]
    Corrupt {
        /// The column.
        what: &'static str,
    },
    /// The store's thread is gone.
    #[error("the store is closed")]
    Closed,
    /// A service of this name exists already.
    #[error("a service named `{0}` exists already")]
    NameTaken(String),
    /// No such service.
    #[error("there is no service `{0}`")]
    NoService(String),
    /// No such deployment.
    #[error("there is no deployment {0}")]
    NoDeployment(i64),
    /// The deployment has ended.
    #[error("deployment {0} has ended already")]
    Ended(i64),
    /// The deployment has not ended, though all of it is over.
    #[error("deployment {0} has no end yet")]
    Unfinished(i64),
    /// The environment that another was made from is not the service's any more.
    #[error("the service's variables were changed meanwhile")]
    EnvChanged,
    /// The service is stopped, and nobody asks that it runs.
    #[error("`{0}` is stopped, and no delivery starts it")]
    Stopped(String),
    /// No such release.
    #[error("the service has no release {0}")]
    NoRelease(u32),
    /// A token of this name exists already.
    #[error("a token named `{0}` exists already")]
    TokenTaken(String),
    /// The credential is registered already.
    #[error("this passkey is registered already")]
    PasskeyKnown,
    /// It is the last passkey.
    #[error("this is the last passkey, and without one nobody could sign in with one any more")]
    LastPasskey,
    /// All passkeys that there may be exist.
    #[error("this host has all the passkeys that it takes")]
    PasskeysFull,
    /// The enrolment link was used or has ended.
    #[error("the enrolment link was used already, or its time is over")]
    LinkUsed,
    /// A service has this domain already.
    #[error("the domain `{0}` leads to a service already")]
    DomainTaken(String),
    /// All services that the configuration allows exist.
    #[error("this host has all the services that it takes")]
    Full,
    /// All ids belong to services, or to the volumes that removed ones left.
    #[error("all ids of this host belong to services, or to volumes that removed services left")]
    NoIds,
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sql(Arc::new(source))
    }
}

impl StoreError {
    /// Whether the disk took nothing, so that the same may well go through once that is mended.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Sql(error) if disk::is_outage(error))
    }

    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::NameTaken(_) => Code::NameTaken,
            Self::NoService(_) => {
                return Problem::new(Code::NotFound, self.to_string())
                    .with_hint("`podkeeper ps`, or GET /services, lists them; `podkeeper create NAME`, or PUT /services/NAME, makes one");
            }
            Self::NoDeployment(_) => Code::NotFound,
            Self::NoRelease(_) => {
                return Problem::new(Code::ReleaseGone, self.to_string())
                    .with_hint("`podkeeper deployments NAME`, or GET /services/NAME/releases, tells which there are");
            }
            Self::Ended(_) | Self::TokenTaken(_) | Self::DomainTaken(_) => Code::Conflict,
            Self::PasskeyKnown => Code::Conflict,
            Self::EnvChanged => {
                return Problem::new(Code::Conflict, self.to_string())
                    .with_hint("see what they are now, and change them again");
            }
            Self::Stopped(name) => {
                return Problem::new(Code::Conflict, self.to_string())
                    .with_hint(format!("start it: `podkeeper deploy {name}`, or POST /services/{name}/start"));
            }
            Self::LastPasskey => {
                return Problem::new(Code::Conflict, self.to_string()).with_hint("register another one first");
            }
            Self::LinkUsed => {
                return Problem::new(Code::NotSignedIn, self.to_string())
                    .with_hint("`podkeeper enroll` on the host makes another one");
            }
            Self::NoIds => {
                return Problem::new(Code::Exhausted, self.to_string())
                    .with_hint("remove volumes that nobody needs (`podman volume ls`, as the user podkeeper, lists them), or raise `services.max`");
            }
            Self::Full | Self::PasskeysFull => Code::Exhausted,
            Self::Sql(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
                return Problem::disk_full();
            }
            _ => {
                return Problem::new(Code::StoreUnavailable, "the agent's store can't be used at the moment").with_hint(
                    "see on the host whether its disk fails or is read-only: `podkeeper doctor`, or journalctl -u podkeeper",
                );
            }
        };
        Problem::new(code, self.to_string())
    }
}

/// The store. A clone is another handle on the same database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    reader: Reader,
    disk: disk::Disk,
}

impl Store {
    /// Opens the database at `path`, makes it where there is none, and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        }
        let open = |flags| {
            Connection::open_with_flags(path, flags)
                .and_then(|connection| {
                    connection.busy_timeout(std::time::Duration::from_secs(5))?;
                    connection.pragma_update(None, "foreign_keys", true)?;
                    // 1 MiB of pages a connection is plenty for these tables.
                    connection.pragma_update(None, "cache_size", -1024)?;
                    Ok(connection)
                })
                .map_err(|source| StoreError::Open { path: path.to_owned(), source })
        };
        let writing =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = open(writing)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        migrate(&mut connection)?;
        // Not opened read-only: SQLite must be able to make the WAL's shared-memory file.
        let reader = open(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        reader.pragma_update(None, "query_only", true)?;
        let disk = disk::Disk::default();
        Ok(Self { writer: Writer::start(connection, disk.clone()), reader: Reader::start(reader), disk })
    }

    /// One transaction that writes: all of it, or nothing.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(Writes::Rows, work).await
    }

    /// Reads, beside the writer.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reader.run(work).await
    }

    /// Whether the store answers, and the disk took what was written last, for `/readyz`.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.ping().await?;
        self.disk.failure().map_or(Ok(()), Err)
    }

    /// Where nothing could be written, sees whether that is so still.
    pub async fn try_again(&self) -> Result<(), StoreError> {
        if self.disk.failure().is_none() {
            return Ok(());
        }
        // It changes nothing, and is written all the same.
        let written = self.writer.run(Writes::Always, |transaction| {
            let version: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            Ok(transaction.pragma_update(None, "user_version", version)?)
        });
        written.await
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }
}

#[cfg(test)]
impl Store {
    /// Changes the tables, as a test wants them.
    pub(crate) async fn change_schema(&self, sql: &'static str) -> Result<(), StoreError> {
        self.write(move |transaction| Ok(transaction.execute_batch(sql)?)).await
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found as usize > MIGRATIONS.len() {
        return Err(StoreError::Newer { found, known: MIGRATIONS.len() });
    }
    for (version, sql) in (1_u32..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        if version == 6 {
            refit::refit(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    let transaction = connection.transaction()?;
    refit::refit_addresses(&transaction)?;
    Ok(transaction.commit()?)
}

fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

fn time(micros: i64, what: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::Corrupt { what })
}

fn parse<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt { what })
}

fn json<T: serde::de::DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt { what })
}

fn to_json<T: serde::Serialize>(value: &T, what: &'static str) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt { what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Actor, CommitId, ReleaseNumber, ServiceName, Volumes};
    use crate::problem::Code;

    /// A store with one service.
    pub(super) async fn one_service() -> (tempfile::TempDir, Store, Service) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        let service = store.create_service(new_service("blog")).await.unwrap();
        (folder, store, service)
    }

    fn new_service(name: &str) -> NewService {
        NewService {
            name: name.parse().unwrap(),
            source: Source::Template("static".parse().unwrap()),
            branch: "main".parse().unwrap(),
            hook_key: crate::names::HookKey::from_random([7; 32]).unwrap(),
            settings: Settings::default(),
            max: 3,
        }
    }

    fn start(name: &str) -> NewDeployment {
        NewDeployment {
            service: name.parse().unwrap(),
            cause: Cause::Start,
            actor: Actor::Agent,
            commit: None,
            from_release: None,
            env: None,
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("agent/store.db")).unwrap();
        (folder, store)
    }

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

    #[tokio::test]
    async fn a_newer_deployment_supersedes_the_one_that_waits_and_not_the_one_under_way() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let (first, _) = store.request_deployment(start("a")).await.unwrap();
        store.step(first.id, State::Fetching, None).await.unwrap();
        let (second, superseded) = store.request_deployment(start("a")).await.unwrap();
        assert!(superseded.is_empty());
        let (third, superseded) = store.request_deployment(start("a")).await.unwrap();
        assert_eq!(superseded, [second.id]);
        assert_eq!(store.deployment(second.id).await.unwrap().state, State::Superseded);
        let unfinished: Vec<_> = store.unfinished(&service.name).await.unwrap().iter().map(|d| d.id).collect();
        assert_eq!(unfinished, [first.id, third.id]);
        assert!(matches!(store.step(second.id, State::Fetching, None).await, Err(StoreError::Ended(_))));
        let page = store.deployments(&service.name, None, 2).await.unwrap();
        assert_eq!((page.deployments[0].id, page.next), (third.id, Some(second.id)));
    }

    fn push(commit: char) -> NewDeployment {
        NewDeployment { cause: Cause::Push, commit: Some(id_of(commit)), ..start("a") }
    }

    fn id_of(commit: char) -> CommitId {
        commit.to_string().repeat(40).parse().unwrap()
    }

    #[tokio::test]
    async fn no_deployment_forgets_a_push_that_came_while_it_was_under_way() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let seen = async || store.seen_commit(service.id).await.unwrap();
        // The one was pushed itself, the other takes what it finds.
        for (under_way, newer) in [(push('1'), '2'), (start("a"), '4')] {
            let commit = under_way.commit.clone().unwrap_or_else(|| id_of('3'));
            let (under_way, _) = store.request_deployment(under_way).await.unwrap();
            store.step(under_way.id, State::Fetching, None).await.unwrap();
            store.request_deployment(push(newer)).await.unwrap();
            let building = store.step(under_way.id, State::Building, Some(commit.clone())).await.unwrap();
            assert_eq!((building.commit, seen().await), (Some(commit), Some(id_of(newer))));
        }
        let (last, _) = store.request_deployment(start("a")).await.unwrap();
        store.step(last.id, State::Building, Some(id_of('5'))).await.unwrap();
        assert_eq!(seen().await, Some(id_of('5')), "nobody pushes what it has found");
    }

    #[tokio::test]
    async fn what_has_left_the_queue_is_not_ended_as_if_it_waited() {
        let (_folder, store) = store();
        store.create_service(new_service("a")).await.unwrap();
        let (waiting, _) = store.request_deployment(start("a")).await.unwrap();
        // Somebody has read that it waits, and it goes on meanwhile.
        store.step(waiting.id, State::Fetching, None).await.unwrap();
        assert_eq!(store.cancel_waiting(waiting.id).await.unwrap(), None);
        assert_eq!(store.deployment(waiting.id).await.unwrap().state, State::Fetching);
        let (behind, _) = store.request_deployment(start("a")).await.unwrap();
        let ended = store.cancel_waiting(behind.id).await.unwrap().unwrap();
        assert_eq!((ended.id, ended.state), (behind.id, State::Cancelled));
        assert_eq!(store.cancel_waiting(behind.id).await.unwrap(), None);
    }

    #[tokio::test]
    async fn only_who_wants_it_to_run_starts_what_is_stopped() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        store.end_service(&service.name, Desired::Stopped).await.unwrap();
        let by = |actor: &str, cause| NewDeployment { actor: actor.parse().unwrap(), cause, ..push('1') };
        for missed in [by("agent", Cause::Push), by("token:a", Cause::Hook)] {
            let refused = store.request_deployment(missed).await;
            assert!(matches!(refused, Err(StoreError::Stopped(name)) if name == "a"));
        }
        store.request_deployment(by("token:a", Cause::Push)).await.unwrap();
        // It will run, and what comes meanwhile is taken.
        store.request_deployment(by("token:a", Cause::Hook)).await.unwrap();
    }

    #[tokio::test]
    async fn what_makes_the_current_release_anew_builds_what_waits_to_be_built() {
        let (_folder, store) = store();
        store.create_service(new_service("a")).await.unwrap();
        let anew = |cause| NewDeployment { cause, from_release: Some(ReleaseNumber(1)), ..start("a") };
        let made_of = |row: &Deployment| (row.commit.clone(), row.from_release.map(|release| release.0));
        for (waits, commit) in [(push('1'), Some(id_of('1'))), (start("a"), None)] {
            let (waiting, _) = store.request_deployment(waits).await.unwrap();
            let (env, superseded) = store.request_deployment(anew(Cause::Env)).await.unwrap();
            assert_eq!((made_of(&env), superseded), ((commit.clone(), None), vec![waiting.id]));
            let (again, _) = store.request_deployment(anew(Cause::Restart)).await.unwrap();
            assert_eq!(made_of(&again), (commit, None), "from one to the next");
            // What is under way goes on, and is not built again.
            store.step(again.id, State::Fetching, None).await.unwrap();
            let (behind, _) = store.request_deployment(anew(Cause::Env)).await.unwrap();
            assert_eq!(made_of(&behind), (None, Some(1)));
        }
        store.request_deployment(push('2')).await.unwrap();
        let (back, _) = store.request_deployment(anew(Cause::Rollback)).await.unwrap();
        assert_eq!(made_of(&back), (None, Some(1)), "who goes back wants nothing newer");
        // What comes behind that is made of the release that it makes.
        for cause in [Cause::Env, Cause::Restart] {
            let (behind, _) = store.request_deployment(anew(cause)).await.unwrap();
            assert_eq!(made_of(&behind), (None, Some(1)));
            let waiting: Vec<_> =
                store.unfinished(&behind.service).await.unwrap().iter().map(|row| row.id).rev().take(2).collect();
            assert_eq!(waiting, [behind.id, back.id], "and there is one of it");
        }
        let (newer, superseded) = store.request_deployment(push('3')).await.unwrap();
        assert!(superseded.contains(&back.id) && superseded.len() == 2);
        assert_eq!(store.unfinished(&newer.service).await.unwrap().last().map(|row| row.id), Some(newer.id));
    }

    #[tokio::test]
    async fn a_failed_deployment_keeps_its_problem_and_its_number_is_given_once() {
        let (_folder, store) = store();
        store.create_service(new_service("a")).await.unwrap();
        let (deployment, _) = store.request_deployment(start("a")).await.unwrap();
        assert_eq!(store.number_release(deployment.id).await.unwrap(), ReleaseNumber(1));
        assert_eq!(store.number_release(deployment.id).await.unwrap(), ReleaseNumber(1));
        let problem = Problem::new(Code::BuildFailed, "it failed").with_hint("read the log");
        let ended = store.finish(deployment.id, State::Failed, Some(problem.clone()), Some("last line".into())).await;
        let ended = ended.unwrap();
        assert_eq!((ended.problem, ended.tail.as_deref()), (Some(problem), Some("last line")));
        assert_eq!(ended.steps.last().map(|(state, _)| *state), Some(State::Failed));
    }

    /// A deployment's release, which has the traffic.
    async fn release(store: &Store, service: &Service, new: NewDeployment) -> Deployment {
        let (deployment, _) = store.request_deployment(new).await.unwrap();
        let number = store.number_release(deployment.id).await.unwrap();
        let release = NewRelease {
            number,
            deployment: deployment.id,
            commit: None,
            port: 20_000 + number.0 as u16,
            container_port: 80,
            healthcheck: false,
            health_interval: None,
            check_timeout: None,
            env: EnvSecrets::new(),
            volumes: Volumes::default(),
            settings: Settings::default(),
            created: Timestamp::now(),
        };
        assert!(store.create_release(service.id, release).await.unwrap());
        store.make_current(service.id, number, deployment.id).await.unwrap();
        deployment
    }

    #[tokio::test]
    async fn who_goes_back_again_comes_further_back_and_never_to_what_they_left() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let live = async |cause: Cause, from_release: Option<u32>| {
            let new = NewDeployment { cause, from_release: from_release.map(ReleaseNumber), ..start("a") };
            let deployment = release(&store, &service, new).await;
            store.finish(deployment.id, State::Live, None, None).await.unwrap();
        };
        let before = async || store.release_before(service.id).await.unwrap().map(|number| number.0);
        assert_eq!(before().await, None, "there is none at all");
        live(Cause::Push, None).await;
        assert_eq!(before().await, None);
        live(Cause::Push, None).await;
        live(Cause::Push, None).await;
        assert_eq!(before().await, Some(2));
        // Release 4, of release 2's image.
        live(Cause::Rollback, Some(2)).await;
        assert_eq!(before().await, Some(1));
        live(Cause::Restart, Some(4)).await;
        assert_eq!(before().await, Some(4), "a restart may have another environment");
        live(Cause::Rollback, Some(4)).await;
        assert_eq!(before().await, Some(1), "also where what was gone back to had been gone back to");
        // One that failed, and whose release is not cleared away yet, is none to go back to.
        let failed = release(&store, &service, start("a")).await;
        store.finish(failed.id, State::Failed, None, None).await.unwrap();
        live(Cause::Push, None).await;
        assert_eq!(before().await, Some(6));
        store.forget_release(service.id, ReleaseNumber(6), false).await.unwrap();
        assert_eq!(before().await, Some(5));
        let listed = store.live_releases(service.id).await.unwrap();
        let numbers: Vec<u32> = listed.iter().map(|(release, _)| release.number.0).collect();
        assert_eq!(numbers, [8, 5, 4, 3, 2, 1]);
        live(Cause::Rollback, Some(1)).await;
        assert_eq!(before().await, None);
    }

    #[tokio::test]
    async fn who_goes_back_has_the_old_environment_once_that_is_live_and_not_before() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let env = |key: &str| EnvSecrets::from([(key.parse().unwrap(), "".parse().unwrap())]);
        let now = async || store.env(&service.name).await.unwrap();
        let keys = async || now().await.into_keys().map(|key| key.to_string()).collect::<Vec<_>>();
        let set = async |key: &str| {
            let change = EnvChange { before: now().await, after: env(key) };
            store.set_env(&service.name, change).await.unwrap();
        };
        // Release 1 has no variable.
        let first = release(&store, &service, start("a")).await;
        store.finish(first.id, State::Live, None, None).await.unwrap();
        set("NEW").await;
        let back = || NewDeployment { cause: Cause::Rollback, from_release: Some(ReleaseNumber(1)), ..start("a") };
        // One that another one supersedes, and one that fails, change nothing.
        store.request_deployment(back()).await.unwrap();
        let failed = release(&store, &service, back()).await;
        store.finish(failed.id, State::Failed, None, None).await.unwrap();
        assert_eq!(keys().await, ["NEW"]);
        let live = release(&store, &service, back()).await;
        assert_eq!(keys().await, ["NEW"]);
        let change = EnvChange { before: now().await, after: env("LATE") };
        store.finish(live.id, State::Live, None, None).await.unwrap();
        assert!(keys().await.is_empty());
        // What was made of the variables from before is none of those that are there now.
        let late = NewDeployment { cause: Cause::Env, env: Some(change.clone()), ..start("a") };
        assert!(matches!(store.request_deployment(late).await, Err(StoreError::EnvChanged)));
        assert!(matches!(store.set_env(&service.name, change).await, Err(StoreError::EnvChanged)));
        assert!(keys().await.is_empty() && store.unfinished(&service.name).await.unwrap().is_empty());
        // What was set after it was asked for stays.
        let live = release(&store, &service, back()).await;
        set("NEWER").await;
        store.finish(live.id, State::Live, None, None).await.unwrap();
        assert_eq!(keys().await, ["NEWER"]);
        // Be it what was there already.
        let live = release(&store, &service, back()).await;
        set("NEWER").await;
        store.finish(live.id, State::Live, None, None).await.unwrap();
        assert_eq!(keys().await, ["NEWER"]);
    }

    #[tokio::test]
    async fn a_port_that_a_route_may_lead_to_is_taken_until_that_is_known() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        for _ in 0..3 {
            release(&store, &service, start("a")).await;
        }
        store.forget_release(service.id, ReleaseNumber(1), true).await.unwrap();
        store.forget_release(service.id, ReleaseNumber(2), false).await.unwrap();
        let taken = async || {
            let mut taken = store.taken_ports().await.unwrap();
            taken.sort_unstable();
            taken
        };
        assert_eq!((taken().await, store.ports().await.unwrap()), (vec![20_001, 20_003], vec![20_003]));
        let with = |port| {
            let of = store.release(service.id, ReleaseNumber(3));
            async move { NewRelease { number: ReleaseNumber(4), port, ..of.await.unwrap() } }
        };
        assert!(!store.create_release(service.id, with(20_001).await).await.unwrap());
        let kept = store.kept_ports().await.unwrap();
        // One that comes after the look is kept for the next.
        store.forget_release(service.id, ReleaseNumber(3), true).await.unwrap();
        store.free_ports(kept).await.unwrap();
        assert_eq!(taken().await, [20_003]);
    }

    #[tokio::test]
    async fn what_makes_the_current_release_anew_takes_the_one_of_its_turn() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let made = async |cause: Cause, from: u32| {
            let new = NewDeployment { cause, from_release: Some(ReleaseNumber(from)), ..start("a") };
            store.request_deployment(new).await.unwrap().0.id
        };
        let from = async |id| {
            store.number_release(id).await.unwrap();
            store.deployment(id).await.unwrap().from_release.map(|number| number.0)
        };
        let first = release(&store, &service, start("a")).await;
        store.finish(first.id, State::Live, None, None).await.unwrap();
        let pushed = store.request_deployment(start("a")).await.unwrap().0;
        store.step(pushed.id, State::Fetching, None).await.unwrap();
        let renewed = made(Cause::Env, 1).await;
        // What was pushed goes live before its turn comes.
        release(&store, &service, start("a")).await;
        assert_eq!(store.service(&service.name).await.unwrap().current, Some(ReleaseNumber(2)));
        assert_eq!(from(renewed).await, Some(2));
        assert_eq!(from(renewed).await, Some(2), "whatever is current by then");
        assert_eq!(from(made(Cause::Rollback, 1).await).await, Some(1));
    }

    #[tokio::test]
    async fn the_traffic_goes_back_to_the_release_that_was_live_last() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let current = async || store.service(&service.name).await.unwrap().current;
        let mut last = None;
        for number in 1..=4 {
            let deployment = release(&store, &service, start("a")).await;
            last = Some(deployment.id);
            let state = if number == 2 { State::Failed } else { State::Live };
            if number < 4 {
                store.finish(deployment.id, state, None, None).await.unwrap();
            }
        }
        // Whatever a clock said that was set back meanwhile.
        let backwards = |transaction: &Transaction<'_>| {
            Ok(transaction.execute("UPDATE deployments SET finished = 1000 - id WHERE finished IS NOT NULL", [])?)
        };
        store.write(backwards).await.unwrap();
        // Not the current one: nothing changes.
        store.give_back(service.id, ReleaseNumber(3), last.unwrap()).await.unwrap();
        assert_eq!(current().await, Some(ReleaseNumber(4)));
        store.give_back(service.id, ReleaseNumber(4), last.unwrap()).await.unwrap();
        assert_eq!(current().await, Some(ReleaseNumber(3)));
        store.forget_release(service.id, ReleaseNumber(3), false).await.unwrap();
        store.make_current(service.id, ReleaseNumber(4), last.unwrap()).await.unwrap();
        store.give_back(service.id, ReleaseNumber(4), last.unwrap()).await.unwrap();
        assert_eq!(current().await, Some(ReleaseNumber(1)), "never one that failed");
    }

    #[tokio::test]
    async fn what_was_stopped_before_a_switch_that_failed_is_so_again() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let now = async || {
            let service = store.service(&service.name).await.unwrap();
            (service.current.map(|number| number.0), service.desired)
        };
        let first = release(&store, &service, start("a")).await;
        store.finish(first.id, State::Live, None, None).await.unwrap();
        let give_back = async |deployment: &Deployment| {
            let number = store.deployment(deployment.id).await.unwrap().release.unwrap();
            store.give_back(service.id, number, deployment.id).await.unwrap();
            store.finish(deployment.id, State::Failed, None, None).await.unwrap();
        };
        let failed = release(&store, &service, start("a")).await;
        give_back(&failed).await;
        assert_eq!(now().await, (Some(1), Desired::Running));
        store.end_service(&service.name, Desired::Stopped).await.unwrap();
        let failed = release(&store, &service, start("a")).await;
        assert_eq!(now().await, (Some(3), Desired::Running));
        give_back(&failed).await;
        assert_eq!(now().await, (Some(1), Desired::Stopped));
    }

    #[tokio::test]
    async fn a_service_is_to_run_from_the_moment_on_that_a_release_has_its_traffic() {
        let (_folder, store) = store();
        let service = store.create_service(new_service("a")).await.unwrap();
        let desired = async || store.service(&service.name).await.unwrap().desired;
        // What comes to nothing changes nothing.
        let (failed, _) = store.request_deployment(start("a")).await.unwrap();
        store.finish(failed.id, State::Failed, None, None).await.unwrap();
        assert_eq!(desired().await, Desired::Created);
        let live = release(&store, &service, start("a")).await;
        store.step(live.id, State::Checking, None).await.unwrap();
        assert_eq!(desired().await, Desired::Running);
        // One that has the traffic already ends as it would have.
        let ended = store.end_service(&service.name, Desired::Stopped).await.unwrap();
        assert_eq!((ended.waiting, ended.begun), (vec![], vec![]));
        store.finish(live.id, State::Live, None, None).await.unwrap();
        // Whoever stops it means all that is under way, and nothing that is asked for later.
        let (begun, _) = store.request_deployment(start("a")).await.unwrap();
        store.step(begun.id, State::Fetching, None).await.unwrap();
        let (waiting, _) = store.request_deployment(start("a")).await.unwrap();
        let ended = store.end_service(&service.name, Desired::Stopped).await.unwrap();
        assert_eq!((ended.waiting, ended.begun), (vec![waiting.id], vec![begun.id]));
        let (later, _) = store.request_deployment(start("a")).await.unwrap();
        assert_eq!(store.deployment(later.id).await.unwrap().problem, None);
        let refused = store.make_current(service.id, ReleaseNumber(1), begun.id).await.unwrap_err();
        assert!(matches!(refused, StoreError::Ended(_)), "{refused}");
        assert_eq!(desired().await, Desired::Stopped);
    }

    #[tokio::test]
    async fn a_disk_that_took_nothing_is_asked_whether_it_does_again() {
        let (_folder, store) = store();
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        store.disk.note(&Err(Arc::new(rusqlite::Error::SqliteFailure(full, None))), true);
        store.free_ids(&"nobody".parse().unwrap()).await.unwrap();
        assert_eq!(store.ready().await.unwrap_err().problem().code, Code::DiskFull);
        store.try_again().await.unwrap();
        store.ready().await.unwrap();
    }

    #[tokio::test]
    async fn a_store_opens_again_as_it_was_and_a_newer_one_is_refused() {
        let (folder, store) = store();
        store.create_service(new_service("a")).await.unwrap();
        let path = folder.path().join("agent/store.db");
        let again = Store::open(&path).unwrap();
        let name: ServiceName = "a".parse().unwrap();
        assert_eq!(again.service(&name).await.unwrap().name, name);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 99, .. })));
    }
}
