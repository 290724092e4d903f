//! Lists that the agent gives in pages.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{Agent, ClientError, segment};

/// How many of a list are asked for at once: each list gives as many.
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

/// A page of any list, whose field is named by what it lists.
#[derive(Debug, Deserialize)]
struct Page<T> {
    #[serde(alias = "services", alias = "deployments")]
    rows: Vec<T>,
    cursor: Option<String>,
}

/// At most `most` rows of the list at `path`.
pub async fn rows<T: DeserializeOwned>(agent: &Agent, path: &str, most: usize) -> Result<Vec<T>, ClientError> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let limit = PAGE.min(most - rows.len());
        let page: Page<T> = agent.get(&format!("{path}?limit={limit}{cursor}")).await?.read()?;
        rows.extend(page.rows);
        match page.cursor {
            Some(next) if rows.len() < most => cursor = format!("&cursor={}", segment(&next)),
            _ => return Ok(rows),
        }
    }
}
