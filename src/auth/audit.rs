//! Who did what, from where, with what result: every change and every refusal, as a row in the store and as fields in
//! the journal.

use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::{Auth, Presented};
use crate::names::{Actor, Excerpt};
use crate::problem::chain;
use crate::store::{AuditBounds, AuditCut, AuditEntry, AuditRow, AuditState, StoreError};

/// How often it is looked whether what was counted is to be written down.
const LOOK: Duration = Duration::from_secs(60);

/// What was done or refused.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// Who; none is a stranger.
    pub actor: Option<Actor>,
    /// The client's address; none is a process on the host.
    pub address: Option<std::net::IpAddr>,
    /// What: a route, or an event of a socket.
    pub action: String,
    /// To what: the path, or a service.
    pub target: String,
    /// With what result: a status, or a problem's code.
    pub result: String,
    /// What more there is to say. Never a secret.
    pub detail: Option<String>,
}

/// Who nobody knows.
pub(super) fn nobody() -> String {
    "nobody".into()
}

impl From<AuditEvent> for AuditEntry {
    fn from(audited: AuditEvent) -> Self {
        Self {
            actor: audited.actor.map_or_else(nobody, |actor| actor.to_string()),
            address: audited.address.map(|address| address.to_string()),
            action: audited.action,
            target: Excerpt::of(&audited.target).into(),
            result: audited.result,
            count: 1,
            detail: audited.detail.map(|detail| Excerpt::of(&detail).into()),
            refused: false,
            counted: None,
        }
    }
}

impl Auth {
    /// Writes down a change, or what failed in the middle of one.
    pub async fn done(&self, audited: AuditEvent) {
        self.append(audited.into()).await;
    }

    /// Writes down what was refused and changed nothing. The first of its kind is a row; those after it are counted into one
    /// more.
    pub async fn refused(&self, audited: AuditEvent) {
        let entry = AuditEntry { refused: true, ..audited.into() };
        if self.refusals.is_first(&entry) {
            self.append(entry).await;
        }
    }

    /// An event of the identity that a socket or a hook belongs to.
    #[must_use]
    pub fn audited(&self, actor: Option<Actor>, presented: &Presented, action: &str, target: &str) -> AuditEvent {
        AuditEvent {
            actor,
            address: self.address(presented),
            action: action.into(),
            target: target.into(),
            result: "done".into(),
            detail: None,
        }
    }

    async fn append(&self, entry: AuditEntry) {
        let limits = &self.config.get().limits;
        let age = SignedDuration::try_from(limits.audit_age).unwrap_or(SignedDuration::MAX);
        match self.store.append_audit(entry.clone(), AuditBounds { rows: limits.audit_rows, age }).await {
            Ok(row) => {
                let AuditEntry { actor, address, action, target, result, count, detail, .. } = row.entry;
                let address = address.unwrap_or_default();
                let detail = detail.unwrap_or_default();
                let (audit, hash) = (row.id, row.hash);
                tracing::info!(
                    audit,
                    actor,
                    address,
                    action,
                    target,
                    result,
                    count,
                    detail,
                    hash,
                    "{action}: {result}"
                );
            }
            Err(error) => tracing::error!("the audit log can't be written: {}: {entry:?}", chain(&error)),
        }
    }

    /// Writes down what was counted, until the agent stops.
    pub async fn count_refusals(&self, stopping: CancellationToken) {
        loop {
            let stopped = stopping.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none();
            for entry in self.refusals.take(stopped) {
                self.append(entry).await;
            }
            if stopped {
                return;
            }
        }
    }

    /// Rows before the row `before`, the newest first.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.store.audit(before, limit).await
    }

    /// What was cut from it so far.
    pub async fn audit_cuts(&self) -> Result<Vec<AuditCut>, StoreError> {
        self.store.audit_cuts().await
    }

    /// Whether a row is missing or was changed.
    pub async fn verify_audit(&self) -> Result<AuditState, StoreError> {
        self.store.verify_audit().await
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::auth_at;
    use super::*;

    fn refusal(address: u8) -> AuditEvent {
        AuditEvent {
            actor: None,
            address: Some([192, 0, 2, address].into()),
            action: "GET /services".into(),
            target: "/services".into(),
            result: "not-signed-in".into(),
            detail: None,
        }
    }

    #[tokio::test]
    async fn refusals_are_counted_and_cost_no_row_each() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        for _ in 0..100 {
            auth.refused(refusal(1)).await;
        }
        for address in 0..200 {
            auth.refused(refusal(address)).await;
        }
        let rows = auth.audit(None, 1000).await.unwrap();
        assert_eq!(rows.len(), 16);
        let stopping = CancellationToken::new();
        stopping.cancel();
        auth.count_refusals(stopping).await;
        let rows = auth.audit(None, 1000).await.unwrap();
        assert_eq!(rows.len(), 18);
        assert_eq!(rows.iter().map(|row| row.entry.count).sum::<u32>(), 300);
        let again = rows.iter().find(|row| row.entry.count == 100).unwrap();
        assert_eq!(again.entry.address.as_deref(), Some("192.0.2.1"));
        assert!(rows.iter().all(|row| row.entry.refused));
        assert!(matches!(auth.verify_audit().await.unwrap(), AuditState::Whole { .. }));
    }
}
