//! The agent's state in SQLite: the only module that holds SQL. One file a table family.
//!
//! What is written here is the truth, and it is on the disk (`synchronous=FULL`) before anybody is told of it.

mod audit;
mod deployments;
mod disk;
mod env;
#[cfg(test)]
mod fixture;
mod history;
mod hooks;
mod ids;
mod lane;
mod making_way;
mod passkeys;
mod password;
mod refit;
mod releases;
mod repository;
mod services;
mod sessions;
mod sources;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction};
use thiserror::Error;

pub use audit::{AuditBounds, AuditCut, AuditEntry, AuditRow, AuditState};
pub use deployments::{Cause, Deployment, DeploymentPage, DeploymentState, EndedService, NewDeployment};
pub use env::{EnvChange, EnvSecrets};
pub use hooks::{Delivered, HookDelivery, NewDelivery, NewOutcome, Outcome};
pub use passkeys::{AuthenticatorData, LINK, NewPasskey, Passkey};
pub use password::GitPassword;
pub use releases::{NewRelease, Release};
pub use repository::{Origin, origin};
pub use services::{Desired, NewBranch, NewService, Service, Settings, Source};
pub use sessions::{NewSession, Session, SignedBy};
pub use tokens::{Grant, SecretHash, Token};

use crate::problem::{Code, Problem};
use lane::{Reader, Writer, Writes};

/// The schema's steps, in order; `user_version` counts how many were taken.
const MIGRATIONS: [&str; 19] = [
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
    include_str!("migrations/016.sql"),
    include_str!("migrations/017.sql"),
    include_str!("migrations/018.sql"),
    include_str!("migrations/019.sql"),
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
    #[error("`{0}` is stopped; its newest commit is built when it is started")]
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
                    "see on the host whether its disk fails or is read-only: `podkeeper doctor`, or `journalctl -u podkeeper`",
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
    use super::fixture::{new_service, store};
    use super::*;
    use crate::names::ServiceName;
    use crate::problem::Code;

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
