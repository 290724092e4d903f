//! `podkeeper hook`: what is given to a forge, and what it has delivered.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::json;

use super::client::{Agent, segment};
use super::options::Outcome;
use super::show::{Cell, Paint, ago, state, text};
use super::tables::table;
use super::{input, show};
use crate::api::hooks::{Delivery, Hook};
use crate::text::Plain;

/// Whose hook, and what becomes of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    name: String,
    /// Give it another key; the one before is dead from then on
    #[arg(long)]
    rotate: bool,
    /// The file with the other key, where the forge has made it itself; - is standard input
    #[arg(long, value_name = "FILE", requires = "rotate")]
    key_file: Option<PathBuf>,
}

/// What became of a delivery.
fn outcome(delivery: &Delivery) -> Cell {
    if let (Some(deployment), Some(now)) = (delivery.deployment, delivery.state) {
        return (format!("deployment {deployment}: {}", now.as_str()).into(), state(now).1);
    }
    let word = delivery.outcome.as_str();
    match &delivery.reason {
        Some(reason) => (format!("{word}: {reason}").into(), Paint::Dim),
        None => text(word),
    }
}

/// Prints the hook's address and key, and the last deliveries.
pub async fn run(agent: &Agent, wanted: &Args, json: bool) -> Outcome {
    let path = format!("/services/{}/hook", segment(&wanted.name));
    let answer = if wanted.rotate {
        let key = wanted.key_file.as_deref().map(|file| input::secret(file, "key")).transpose()?;
        let body = key.map_or_else(|| json!({}), |key| json!({ "key": key.expose_secret() }));
        agent.call(Method::POST, &format!("{path}/rotate"), Some(&body)).await?
    } else {
        agent.get(&path).await?
    };
    if json {
        answer.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = show::out();
    let Hook { url, key, deliveries } = answer.read()?;
    writeln!(out, "address  {}\nkey      {}", Plain::from(url), Plain::from(key))?;
    if wanted.rotate {
        writeln!(out, "The key before is dead: give the forge this one.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let row = |delivery: &Delivery| {
        let sender = text(delivery.sender.as_str());
        vec![ago(Some(delivery.received), now), sender, text(&delivery.event), outcome(delivery)]
    };
    let rows: Vec<Vec<Cell>> = deliveries.iter().map(row).collect();
    writeln!(out)?;
    if rows.is_empty() {
        writeln!(out, "Nothing was delivered yet.")?;
    } else {
        table(&mut out, &["AGE", "FROM", "EVENT", "OUTCOME"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_delivery_is_told_in_a_word_or_with_why() {
        let told = |word: &str, reason: Option<&str>, deployment: Option<i64>, state: Option<&str>| {
            let delivery = json!({
                "received": "2026-01-01T00:00:00Z", "sender": "github", "event": "push", "outcome": word,
                "reason": reason, "deployment": deployment, "state": state,
            });
            outcome(&serde_json::from_value(delivery).unwrap()).0
        };
        assert_eq!(told("deployed", None, Some(7), Some("live")), "deployment 7: live");
        assert_eq!(told("ignored", Some("a tag"), None, None), "ignored: a tag");
        assert_eq!(told("ping", None, None, None), "ping");
    }
}
