//! `podkeeper doctor`: looks at what the agent stands on, and tells the next step where something is wrong. A file a part
//! of the host.

mod agent;
mod disk;
mod finding;
mod host;
mod ids;
mod inotify;
mod journal;
mod network;
mod pipes;
mod podman;
mod print;
mod proxy;
mod routes;
mod user;
mod watches;

use std::process::ExitCode;

use nix::unistd::User;

use super::options::{Options, Outcome};
use crate::config::{Config, system};
use finding::Level;

/// Looks, prints, and fails where something is bad.
pub fn run(options: &Options) -> Outcome {
    options.must_be_local("doctor")?;
    let config = &Config::load(&options.config, true)?;
    let mut findings = vec![podman::version_of(config)];
    match User::from_name(host::USER)?.map(|user| user.uid.as_raw()) {
        None => findings.push(user::missing()),
        Some(uid) => {
            findings.extend([
                ids::ids(system::SUBUID, config),
                ids::ids(system::SUBGID, config),
                user::lingering(),
                user::bus(config, uid),
                podman::socket(config, uid),
                routes::routes(&config.paths.routes, uid),
                journal::limits(uid),
            ]);
            findings.extend(watches::watches(uid));
        }
    }
    findings.extend([
        journal::kept(config),
        pipes::pipes(),
        network::network(),
        proxy::proxy(),
        agent::agent(config),
        disk::disk(&config.paths.state),
    ]);
    findings.extend(agent::troubles(config));
    print::print(&findings, options.json)?;
    let bad = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
