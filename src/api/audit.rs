//! The audit log.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::store;

/// A page of it, the newest first.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Audit {
    /// The rows.
    pub rows: Vec<AuditRow>,
    /// What asks for the next page; none on the last one.
    pub cursor: Option<String>,
}

/// Something that was done or refused.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AuditRow {
    /// Its number.
    pub id: i64,
    /// When.
    #[schemars(with = "super::fields::Moment")]
    pub time: Timestamp,
    /// Who: `token:NAME`, `local:UID`, `git-password`, `agent`, or `nobody`.
    pub actor: String,
    /// From where; none is the host itself.
    pub address: Option<String>,
    /// What: a method and a route, or a socket's event.
    pub action: String,
    /// To what.
    pub target: String,
    /// A status, or a problem's code.
    pub result: String,
    /// How often, where refusals of a minute are counted together.
    pub count: u32,
    /// What more there is to say.
    pub detail: Option<String>,
    /// The SHA-256 of the hash before and of this row.
    pub hash: String,
}

impl From<store::AuditRow> for AuditRow {
    fn from(row: store::AuditRow) -> Self {
        let store::AuditRow { id, time, entry, hash, .. } = row;
        let store::AuditEntry { actor, address, action, target, result, count, detail } = entry;
        Self { id, time, actor, address, action, target, result, count, detail, hash }
    }
}
