//! The composition root: builds each part once, starts and stops them in order. Nothing else knows all modules.

mod code;
mod life;
mod parts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use life::Agent;
pub use parts::Parts;

use crate::config::{Config, ConfigError, LiveConfig};
use crate::http::Listeners;
use crate::problem::chain;
use crate::store::{Store, StoreError};

/// Why the agent can't run.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The runtime, a signal or a socket.
    #[error("can't {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> AgentError {
    move |source| AgentError::System { what, source }
}

/// Runs the agent until SIGTERM or SIGINT.
pub fn run(path: &Path) -> Result<(), AgentError> {
    let config = Config::load(path, true)?;
    start_log();
    // What is checked out for a build is copied into images as it is, and programs there run as other users. The
    // state's folder itself is closed to everybody else.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // Two are enough for what one host asks, and each thread costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    let ended = runtime.block_on(serve(config, path.to_owned()));
    // What still runs is cut off here as a crash would; the next agent goes on from the rows.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// The verifier of passkeys writes an error for whatever a stranger sends; what counts is in our own lines.
const LOG: &str = "info,webauthn_rs=off,webauthn_rs_core=off";

/// Structured fields for journald where systemd started us, else lines on standard error.
fn start_log() {
    let filter = || EnvFilter::try_from_env("PODKEEPER_LOG").unwrap_or_else(|_| EnvFilter::new(LOG));
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok()).map(|layer| {
        layer
            .with_syslog_identifier("podkeeper".into())
            .with_field_prefix(Some("PODKEEPER".into()))
            .with_filter(filter())
    });
    let lines =
        journal.is_none().then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter()));
    tracing_subscriber::registry().with(journal).with(lines).init();
}

async fn serve(config: Config, path: PathBuf) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(system("listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("listen for SIGINT"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("listen for SIGHUP"))?;
    let listeners = Listeners::open(&config.listen).map_err(system("listen"))?;
    let parts = Parts::build(LiveConfig::new(config))?;
    let agent = Agent::start(parts.clone(), listeners).await;
    let guarding = tokio::spawn(watchdog(parts.store.clone()));
    let saving = tokio::spawn(code::keep_small());
    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the agent is ready");

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&parts, &path),
        }
    }
    tracing::info!("the agent stops; services, builds and deployments go on");
    notify(&[sd_notify::NotifyState::Stopping]);
    guarding.abort();
    saving.abort();
    agent.stop().await;
    Ok(())
}

/// Reads the configuration again. A bad one changes nothing.
fn reload(parts: &Parts, path: &Path) {
    match Config::load(path, true) {
        Ok(new) => {
            if !parts.config.replace(new) {
                tracing::warn!(
                    "`listen.web`, `listen.local`, `paths`, `host`, `limits.head_timeout`, `limits.connections`, \
                     `limits.anonymous` and `limits.anonymous_each` take effect at the agent's next start"
                );
            }
            parts.deploys.reconfigure();
            tracing::info!("the configuration is read again");
        }
        Err(error) => tracing::error!("the configuration is kept as it was: {}", chain(&error)),
    }
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("can't notify systemd: {error}");
    }
}

/// Tells systemd that we live as long as the runtime turns and the store answers.
async fn watchdog(store: Store) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    loop {
        if store.ping().await.is_ok() {
            notify(&[sd_notify::NotifyState::Watchdog]);
        }
        tokio::time::sleep(period / 3).await;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_unit_ends_what_takes_too_much_memory_and_slows_nothing_down() {
        let unit = include_str!("../../systemd/podkeeper.service");
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        // Throttled, the agent would miss its own watchdog.
        assert_eq!(value("MemoryHigh"), None);
        // What the agent takes, and what one push makes git take (`core.packedGitLimit` and the like), many times.
        let most: u64 = value("MemoryMax").and_then(|most| most.strip_suffix('G')?.parse().ok()).unwrap_or_default();
        assert!(most * 1024 >= 8 * (64 + 64));
        // One of git's programs that is ended takes the unit with it otherwise.
        assert_eq!(value("OOMPolicy"), Some("continue"));
    }
}
