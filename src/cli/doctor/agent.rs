//! The agent, and what its maintenance could not do.

use jiff::Timestamp;

use super::super::client::{Agent, ClientError, block_on};
use super::super::host;
use super::finding::{Finding, Level, good, wrong};
use super::host::is_enabled;
use crate::api::host::{Host, Limits, Trouble};
use crate::config::Config;
use crate::problem::Code;

/// How often maintenance may fail at something, with a while between, until it is no passing trouble.
const PASSING: u32 = 5;

fn local(config: &Config) -> Agent {
    Agent::Local(config.listen.local.clone().into())
}

/// Whether it runs, and has what it needs.
pub(super) fn agent(config: &Config) -> Finding {
    let asked = block_on(async { Ok(local(config).get("/readyz").await?) });
    match asked {
        Ok(_) => ready(),
        Err(error) => not_ready(error.as_ref()),
    }
}

fn ready() -> Finding {
    if is_enabled("podkeeper.service") {
        return good("agent", "it is ready");
    }
    wrong("agent", Level::Warn, "it is ready, and will not be after a reboot", "systemctl enable podkeeper")
}

fn not_ready(error: &(dyn std::error::Error + 'static)) -> Finding {
    match error.downcast_ref() {
        // It runs, and tells what it waits for.
        Some(ClientError::Refused { code: Some(Code::NotReady), detail, .. }) => {
            let next = "what stands above, if anything does; journalctl -u podkeeper tells why";
            wrong("agent", Level::Bad, detail.to_string(), next)
        }
        Some(ClientError::Refused { detail, .. }) => {
            wrong("agent", Level::Bad, detail.to_string(), "journalctl -u podkeeper tells why")
        }
        Some(ClientError::Foreign(status)) => {
            let detail = format!("something else answers in its place, with HTTP status {status}");
            wrong("agent", Level::Bad, detail, "set `listen.local` to the agent's own socket, not to a proxy before it")
        }
        _ => {
            let next = "systemctl restart podkeeper; journalctl -u podkeeper tells why";
            wrong("agent", Level::Bad, error.to_string(), next)
        }
    }
}

/// Which limits count, and what its maintenance could not do. Whether the agent answers at all is told apart.
pub(super) fn troubles(config: &Config) -> Vec<Finding> {
    let asked = block_on(async { Ok(local(config).get("/host").await?.read::<Host>()?) });
    let Ok(Host { troubles, limits, .. }) = asked else { return Vec::new() };
    let mut findings: Vec<Finding> = limits.iter().map(of_limits).collect();
    if troubles.is_empty() {
        findings.push(good("maintenance", "all is as it is wanted"));
    }
    let now = Timestamp::now();
    findings.extend(troubles.iter().map(|trouble| of_trouble(trouble, now)));
    findings
}

fn of_limits(limits: &Limits) -> Finding {
    let missing = limits.missing();
    if missing.is_empty() {
        return good("limits", "the kernel enforces those of memory, CPU time and processes");
    }
    let detail =
        format!("the kernel does not enforce those of {}: services and builds take what they want", missing.join(", "));
    let next = "boot with control groups v2 and these controllers, and let systemd delegate them: \
                systemctl show user@.service --property=DelegateControllers";
    wrong("limits", Level::Warn, detail, next)
}

fn of_trouble(trouble: &Trouble, now: Timestamp) -> Finding {
    let level = if trouble.times < PASSING { Level::Warn } else { Level::Bad };
    let hint = trouble.hint.as_deref();
    let next = hint.unwrap_or("mend what it says, and the agent does the rest; journalctl -u podkeeper tells more");
    wrong("maintenance", level, host::sentence(trouble, now), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_waits_is_told_from_what_answers_in_its_place() {
        let refused =
            |code| ClientError::Refused { code, detail: "Not ready: no answer from podman.".into(), hint: None };
        let told = |error: ClientError| not_ready(&error).detail;
        assert_eq!(told(refused(Some(Code::NotReady))), "Not ready: no answer from podman.");
        assert_eq!(told(refused(None)), "Not ready: no answer from podman.");
        assert!(told(ClientError::Foreign(503)).starts_with("something else answers"));
        assert!(told(ClientError::Broken).contains("no answer"));
    }
}
