//! `podkeeper hook` and `podkeeper deploy-key`: what is given to a forge.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::client::{Agent, segment};
use super::show::{Cell, Paint, ago, cell, colours, table};
use super::{Outcome, input, show};
use crate::text::Plain;

/// Whose hook, and what becomes of it.
#[derive(Debug, clap::Args)]
pub struct Wanted {
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
fn outcome(delivery: &Value) -> Cell {
    let text = |key: &str| cell(&delivery[key]).0;
    match delivery["state"].as_str() {
        Some(state) => (format!("deployment {}: {state}", text("deployment")).into(), Paint::of(state)),
        None if delivery["reason"].is_string() => {
            (format!("{}: {}", text("outcome"), text("reason")).into(), Paint::Dim)
        }
        None => cell(&delivery["outcome"]),
    }
}

/// Prints the hook's address and key, and the last deliveries.
pub async fn run(agent: &Agent, wanted: Wanted, json: bool) -> Outcome {
    let path = format!("/services/{}/hook", segment(&wanted.name));
    let hook = if wanted.rotate {
        let key = wanted.key_file.as_deref().map(|file| input::secret(file, "key")).transpose()?;
        let body = key.map_or_else(|| json!({}), |key| json!({ "key": key.expose_secret() }));
        agent.call(Method::POST, &format!("{path}/rotate"), Some(&body)).await?
    } else {
        agent.call(Method::GET, &path, None).await?
    };
    let mut out = show::out();
    if json {
        writeln!(out, "{hook}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |key: &str| Plain::from(hook[key].as_str().unwrap_or_default());
    writeln!(out, "address  {}\nkey      {}", text("url"), text("key"))?;
    if wanted.rotate {
        writeln!(out, "The key before is dead: give the forge this one.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let row = |delivery: &Value| {
        vec![ago(&delivery["received"], now), cell(&delivery["sender"]), cell(&delivery["event"]), outcome(delivery)]
    };
    let rows: Vec<Vec<Cell>> = hook["deliveries"].as_array().into_iter().flatten().map(row).collect();
    writeln!(out)?;
    if rows.is_empty() {
        writeln!(out, "Nothing was delivered yet.")?;
    } else {
        table(&mut out, &["AGE", "FROM", "EVENT", "OUTCOME"], &rows, colours())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the key, a line of an `authorized_keys` file.
pub async fn deploy_key(agent: &Agent, name: &str, json: bool) -> Outcome {
    let answer = agent.call(Method::GET, &format!("/services/{}/deploy-key", segment(name)), None).await?;
    let text =
        if json { answer.to_string().into() } else { Plain::from(answer["public_key"].as_str().unwrap_or_default()) };
    writeln!(show::out(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_delivery_is_told_in_a_word_or_with_why() {
        let told = |delivery: Value| outcome(&delivery).0;
        assert_eq!(told(json!({ "outcome": "deployed", "deployment": 7, "state": "live" })), "deployment 7: live");
        assert_eq!(told(json!({ "outcome": "ignored", "reason": "a tag" })), "ignored: a tag");
        assert_eq!(told(json!({ "outcome": "ping", "reason": null })), "ping");
    }
}
