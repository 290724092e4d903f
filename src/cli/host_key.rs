//! `podkeeper host-key`: the ssh key by which a service knows the host of its repository.

use std::io::Write;
use std::process::ExitCode;

use http::Method;
use serde_json::json;

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show;
use super::show::{Cell, text};
use super::tables::table;
use crate::api::services::{HostKeys, ShownKey};
use crate::text::Plain;

/// Whose, and which is taken.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    /// The fingerprint of the key that the host has now, as the forge publishes it; the one before is forgotten
    #[arg(long, value_name = "FINGERPRINT")]
    accept: Option<String>,
}

/// Prints the keys that are known and those that the host shows, or takes one.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let path = format!("/services/{}/host-key", segment(&wanted.name));
    let answer = match &wanted.accept {
        Some(fingerprint) => agent.call(Method::POST, &path, Some(&json!({ "fingerprint": fingerprint }))).await?,
        None => agent.get(&path).await?,
    };
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let keys: HostKeys = answer.read()?;
    let mut out = show::out();
    let row = |word: &str, key: &ShownKey| -> Vec<Cell> { vec![text(word), text(&key.kind), text(&key.fingerprint)] };
    let known = keys.known.iter().map(|key| row("known", key));
    let rows: Vec<_> = known.chain(keys.offered.iter().map(|key| row("shown", key))).collect();
    table(&mut out, &["KEY", "KIND", "FINGERPRINT"], &rows)?;
    let is_known = keys.offered.iter().any(|key| keys.known.iter().any(|known| known.fingerprint == key.fingerprint));
    if !is_known && !keys.known.is_empty() {
        writeln!(
            out,
            "{} has another key than before. Where the forge says that it is its own, take it: \
             podkeeper host-key {} --accept FINGERPRINT",
            Plain::from(&keys.host),
            wanted.name
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
