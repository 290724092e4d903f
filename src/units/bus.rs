//! The service user's systemd manager over D-Bus: units listed, started, stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use nix::sys::signal::Signal;
use tokio::sync::Mutex;
use tokio::time::timeout;
use zbus::Connection;
use zbus_systemd::systemd1::{ManagerProxy, ServiceProxy, UnitProxy};

use super::UnitsError;
use super::states::{ActiveState, LoadState, ServiceResult, SubState};
use crate::config::Waits;
use crate::names::AbsPath;

/// How long a single call may take.
const CALL: Duration = Duration::from_secs(25);

/// What a job came to (org.freedesktop.systemd1(5), JobRemoved).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobResult {
    /// It was done.
    Done,
    /// It was cancelled by another job.
    Canceled,
    /// It took too long.
    Timeout,
    /// The unit failed.
    Failed,
    /// A unit that it needs failed.
    Dependency,
    /// It didn't apply.
    Skipped,
    /// Something else, of which none is that it was done.
    Other,
}

impl JobResult {
    fn parse(word: &str) -> Self {
        match word {
            "done" => Self::Done,
            "canceled" => Self::Canceled,
            "timeout" => Self::Timeout,
            "dependency" => Self::Dependency,
            "skipped" => Self::Skipped,
            "failed" => Self::Failed,
            _ => Self::Other,
        }
    }
}

/// A unit in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitListing {
    /// Its name.
    pub name: String,
    /// Whether it has a file.
    pub load: LoadState,
    /// How it is.
    pub active: ActiveState,
    /// The finer state.
    pub sub: SubState,
}

/// What systemd knows of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitFacts {
    /// Whether it has a file.
    pub load: LoadState,
    /// How it is.
    pub active: ActiveState,
    /// The finer state.
    pub sub: SubState,
    /// When the state began, in microseconds since 1970.
    pub since: Option<u64>,
    /// How often systemd started it again by itself.
    pub restarts: u32,
    /// What it came to.
    pub result: ServiceResult,
    /// The main process's exit status; where a signal ended it, 128 and that, as a shell counts.
    pub exit_status: i32,
    /// The run's id, in hexadecimal digits.
    pub invocation: String,
}

/// How a process ended (sigaction(2), `si_code`): by a signal, and so that its memory was written down.
const CLD_KILLED: i32 = 2;
const CLD_DUMPED: i32 = 3;

/// A row of ListUnitsByPatterns (org.freedesktop.systemd1(5)).
type RawListing =
    (String, String, String, String, String, String, zbus::OwnedObjectPath, u32, String, zbus::OwnedObjectPath);

#[derive(Debug)]
struct Inner {
    socket: AbsPath,
    waits: Waits,
    connection: Mutex<Option<Connection>>,
    asked: AtomicU64,
    reloaded: Mutex<u64>,
    cgroup: OnceLock<String>,
}

/// The manager. It connects at the first call, and again after the manager was away.
#[derive(Debug, Clone)]
pub struct UserManager {
    inner: Arc<Inner>,
}

/// Whether the connection is of no use any more.
fn is_lost(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::InputOutput(_) | zbus::Error::Handshake(_) => true,
        zbus::Error::MethodError(name, _, _) => matches!(
            name.as_str(),
            "org.freedesktop.DBus.Error.ServiceUnknown"
                | "org.freedesktop.DBus.Error.NoReply"
                | "org.freedesktop.DBus.Error.Disconnected"
                | "org.freedesktop.DBus.Error.NameHasNoOwner"
        ),
        _ => false,
    }
}

fn is_no_such_unit(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == "org.freedesktop.systemd1.NoSuchUnit")
}

impl UserManager {
    /// The manager behind the bus at `socket`.
    #[must_use]
    pub fn new(socket: AbsPath, waits: Waits) -> Self {
        let inner = Inner {
            socket,
            waits,
            connection: Mutex::default(),
            asked: AtomicU64::new(0),
            reloaded: Mutex::new(0),
            cgroup: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A connection that is subscribed to signals.
    pub(super) async fn connection(&self) -> Result<Connection, UnitsError> {
        let mut held = self.inner.connection.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let unavailable = |error| UnitsError::Unavailable(Some(Box::new(error)));
        let connect = async {
            let address = format!("unix:path={}", self.inner.socket);
            let connection = zbus::connection::Builder::address(address.as_str()).build().await?;
            let manager = ManagerProxy::new(&connection).await?;
            manager.subscribe().await?;
            let _ = self.inner.cgroup.set(manager.control_group().await?);
            Ok(connection)
        };
        let connection =
            timeout(CALL, connect).await.map_err(|_| UnitsError::Unavailable(None))?.map_err(unavailable)?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// How long it waits until it looks or tries again.
    pub(super) fn waits(&self) -> &Waits {
        &self.inner.waits
    }

    /// Forgets a connection that is of no use, so that the next call makes another.
    pub(super) async fn forget(&self) {
        *self.inner.connection.lock().await = None;
    }

    /// The cgroup of the manager, once it has answered.
    #[must_use]
    pub fn cgroup(&self) -> Option<String> {
        self.inner.cgroup.get().cloned()
    }

    /// Runs `work` on the manager, once more on a new connection where the old one turns out to be lost.
    pub(super) async fn call<T, F>(
        &self,
        call: &'static str,
        limit: Duration,
        work: impl Fn(ManagerProxy<'static>) -> F + Send,
    ) -> Result<T, UnitsError>
    where
        F: Future<Output = zbus::Result<T>> + Send,
    {
        for last in [false, true] {
            let connection = self.connection().await?;
            let attempt = async {
                let manager = ManagerProxy::new(&connection).await?;
                work(manager).await
            };
            match timeout(limit, attempt).await {
                Err(_) => return Err(UnitsError::Slow { what: call.into() }),
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if is_lost(&error) => {
                    self.forget().await;
                    if last {
                        return Err(UnitsError::Unavailable(Some(Box::new(error))));
                    }
                }
                Ok(Err(source)) => return Err(UnitsError::Refused { call, source: Box::new(source) }),
            }
        }
        Err(UnitsError::Unavailable(None))
    }

    /// Whether the manager answers, for `/readyz`; its version.
    pub async fn version(&self) -> Result<String, UnitsError> {
        self.call("Version", CALL, |manager| async move { manager.version().await }).await
    }

    /// Lets the manager read its unit files again. Calls that come while one waits share it.
    pub async fn reload(&self) -> Result<(), UnitsError> {
        let ticket = self.inner.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut reloaded = self.inner.reloaded.lock().await;
        if *reloaded >= ticket {
            return Ok(());
        }
        let served = self.inner.asked.load(Ordering::SeqCst);
        self.call("Reload", Duration::from_secs(90), |manager| async move { manager.reload().await }).await?;
        *reloaded = served;
        Ok(())
    }

    /// Starts a unit and waits for the end of its job.
    pub async fn start(&self, unit: &str, limit: Duration) -> Result<JobResult, UnitsError> {
        self.job(
            "StartUnit",
            unit,
            limit,
            |manager| async move { manager.start_unit(unit.into(), "replace".into()).await },
        )
        .await
    }

    /// Stops a unit and waits for the end of its job. One that isn't there is stopped.
    pub async fn stop(&self, unit: &str, limit: Duration) -> Result<JobResult, UnitsError> {
        let stopped =
            self.job("StopUnit", unit, limit, |manager| async move {
                manager.stop_unit(unit.into(), "replace".into()).await
            })
            .await;
        match stopped {
            Err(UnitsError::Refused { source, .. }) if is_no_such_unit(&source) => Ok(JobResult::Done),
            other => other,
        }
    }

    /// Stops a unit, and kills what has not ended after a moment.
    pub async fn end(&self, unit: &str, limit: Duration) -> Result<JobResult, UnitsError> {
        match self.stop(unit, self.inner.waits.end).await {
            Err(UnitsError::Slow { .. }) => {
                self.kill(unit, Signal::SIGKILL as i32).await?;
                self.stop(unit, limit).await
            }
            ended => ended,
        }
    }

    /// Waits for the job that `begin` makes.
    pub(super) async fn job<F>(
        &self,
        call: &'static str,
        unit: &str,
        limit: Duration,
        begin: impl Fn(ManagerProxy<'static>) -> F + Send + Sync,
    ) -> Result<JobResult, UnitsError>
    where
        F: Future<Output = zbus::Result<zbus::OwnedObjectPath>> + Send,
    {
        let begin = &begin;
        let wait = self.call(call, limit, |manager| async move {
            // Listening begins before the call: a quick job's signal comes before the call's own answer.
            let mut removed = manager.receive_job_removed().await?;
            let job = begin(manager.clone()).await?;
            while let Some(signal) = removed.next().await {
                let args = signal.args()?;
                if *args.job() == job {
                    return Ok(JobResult::parse(args.result()));
                }
            }
            Err(zbus::Error::InputOutput(Arc::new(std::io::ErrorKind::ConnectionReset.into())))
        });
        match wait.await {
            Err(UnitsError::Slow { .. }) => Err(UnitsError::Slow { what: unit.into() }),
            other => other,
        }
    }

    /// Sends a signal to all processes of a unit. One that isn't there has none.
    pub async fn kill(&self, unit: &str, signal: i32) -> Result<(), UnitsError> {
        let sent =
            self.call(
                "KillUnit",
                CALL,
                |manager| async move { manager.kill_unit(unit.into(), "all".into(), signal).await },
            );
        match sent.await {
            Err(UnitsError::Refused { source, .. }) if is_no_such_unit(&source) => Ok(()),
            other => other,
        }
    }

    /// Lets the manager forget that a unit failed.
    pub async fn reset_failed(&self, unit: &str) -> Result<(), UnitsError> {
        let reset =
            self.call("ResetFailedUnit", CALL, |manager| async move { manager.reset_failed_unit(unit.into()).await });
        match reset.await {
            Err(UnitsError::Refused { source, .. }) if is_no_such_unit(&source) => Ok(()),
            other => other,
        }
    }

    /// The loaded units whose names match one of `patterns` (glob(7)).
    pub async fn units(&self, patterns: &[String]) -> Result<Vec<UnitListing>, UnitsError> {
        let listed = self
            .call("ListUnitsByPatterns", CALL, |manager| async move {
                manager.list_units_by_patterns(Vec::new(), patterns.to_vec()).await
            })
            .await?;
        let listing = |(name, _, load, active, sub, ..): RawListing| UnitListing {
            name,
            load: load.into(),
            active: active.into(),
            sub: sub.into(),
        };
        Ok(listed.into_iter().map(listing).collect())
    }

    /// Whether the manager has a unit file of exactly this name.
    pub async fn unit_file_exists(&self, name: &str) -> Result<bool, UnitsError> {
        let files = self
            .call("ListUnitFilesByPatterns", CALL, |manager| async move {
                manager.list_unit_files_by_patterns(Vec::new(), vec![name.to_owned()]).await
            })
            .await?;
        Ok(!files.is_empty())
    }

    /// What the manager knows of a unit; none where it isn't loaded.
    pub async fn unit(&self, name: &str) -> Result<Option<UnitFacts>, UnitsError> {
        let facts = self.call("GetUnit", CALL, |manager| async move {
            let connection = manager.inner().connection();
            let path = manager.get_unit(name.into()).await?;
            let unit = UnitProxy::builder(connection)
                .path(path.clone())
                .cache_properties(zbus::proxy::CacheProperties::No)
                .build()
                .await?;
            let mut facts = UnitFacts {
                load: unit.load_state().await?.into(),
                active: unit.active_state().await?.into(),
                sub: unit.sub_state().await?.into(),
                since: Some(unit.state_change_timestamp().await?).filter(|since| *since > 0),
                invocation: unit.invocation_id().await?.iter().map(|byte| format!("{byte:02x}")).collect(),
                ..UnitFacts::default()
            };
            if name.ends_with(".service") {
                let service = ServiceProxy::builder(connection)
                    .path(path)
                    .cache_properties(zbus::proxy::CacheProperties::No)
                    .build()
                    .await?;
                facts.restarts = service.n_restarts().await?;
                facts.result = service.result().await?.into();
                let (code, status) = (service.exec_main_code().await?, service.exec_main_status().await?);
                facts.exit_status = if matches!(code, CLD_KILLED | CLD_DUMPED) { 128 + status } else { status };
            }
            Ok(facts)
        });
        match facts.await {
            Ok(facts) => Ok(Some(facts)),
            Err(UnitsError::Refused { source, .. }) if is_no_such_unit(&source) || is_unknown_object(&source) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A unit may be unloaded between two questions about it.
fn is_unknown_object(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::MethodError(name, _, _) if name.as_str() == "org.freedesktop.DBus.Error.UnknownObject")
}
