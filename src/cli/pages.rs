//! Lists that the agent gives in pages.

use http::Method;
use serde_json::Value;

use super::client::{Agent, ClientError, segment};

/// How many of a list are asked for at once.
const PAGE: usize = 200;

/// How much of a list is wanted.
#[derive(Debug, clap::Args)]
pub struct Most {
    /// How many at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

impl Most {
    /// The same as a length.
    pub fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}

/// At most `most` rows of the list that `path` gives under `key`.
pub async fn rows(agent: &Agent, path: &str, key: &str, most: usize) -> Result<Vec<Value>, ClientError> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let limit = PAGE.min(most - rows.len());
        let mut page = agent.call(Method::GET, &format!("{path}?limit={limit}{cursor}"), None).await?;
        let Value::Array(more) = page[key].take() else { return Err(ClientError::Broken) };
        rows.extend(more);
        match page["cursor"].as_str() {
            Some(next) if rows.len() < most => cursor = format!("&cursor={}", segment(next)),
            _ => return Ok(rows),
        }
    }
}
