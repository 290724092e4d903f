//! A line of our own that tells where the journal is: once it holds that, it holds all datagrams that were sent before.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::{By, Direction, Journal, JournalError, Query, Select};

impl Journal {
    /// Writes such a line, and tells its cursor; none where it is not there after `limit`.
    pub async fn mark(&self, said: &str, limit: Duration) -> Option<String> {
        let mark = format!("{:016x}", rand::random::<u64>());
        // It is nobody's story.
        tracing::info_span!(parent: None, "mark").in_scope(|| tracing::info!(mark, "{said}"));
        self.find_mark(mark, By::Agent, limit).await
    }

    /// The cursor of the line with this mark; none where the journal does not hold it (any more, or yet).
    ///
    /// # Errors
    /// The journal can't be read.
    pub async fn marked(&self, mark: String) -> Result<Option<String>, JournalError> {
        let page = self.query(Query { by: By::Agent, lines: 1, ..Query::newest(Select::Mark(mark)) }).await?;
        Ok(page.entries.into_iter().next().map(|entry| entry.cursor))
    }

    /// The cursor of the line with this mark, once the journal holds it; `by` wants to know.
    pub async fn find_mark(&self, mark: String, by: By, limit: Duration) -> Option<String> {
        let query = Query { by, direction: Direction::Forward, ..Query::newest(Select::Mark(mark)) };
        let mut found = pin!(self.follow(query.into()));
        let found = timeout(limit, found.next()).await.ok()??;
        Some(found.ok()?.cursor)
    }
}
