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
    /// What is no longer there: the oldest of what was done and of what was refused.
    pub dropped: Vec<Dropped>,
}

/// The oldest rows, which went by their number or their age.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Dropped {
    /// Whether they told what was refused, or else what was done.
    pub refused: bool,
    /// How many so far.
    pub rows: i64,
    /// When the last of them went.
    #[schemars(with = "super::fields::Moment")]
    pub time: Timestamp,
}

impl From<store::AuditCut> for Dropped {
    fn from(store::AuditCut { refused, rows, time }: store::AuditCut) -> Self {
        Self { refused, rows, time }
    }
}

/// Something that was done or refused.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AuditRow {
    /// Its number.
    pub id: i64,
    /// Whether it was refused and changed nothing. Such rows have a bound of their own.
    pub refused: bool,
    /// When; where several are counted together, the last of them.
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
    /// How many refusals of this kind it counts together.
    pub count: u32,
    /// When the first of them was.
    #[schemars(with = "Option<super::fields::Moment>")]
    pub since: Option<Timestamp>,
    /// What more there is to say.
    pub detail: Option<String>,
    /// The SHA-256 of the hash before and of this row.
    pub hash: String,
}

impl From<store::AuditRow> for AuditRow {
    fn from(row: store::AuditRow) -> Self {
        let store::AuditRow { id, time, entry, hash, .. } = row;
        let store::AuditEntry { actor, address, action, target, result, count, detail, refused, counted } = entry;
        let since = counted.map(|(first, _)| first);
        Self { id, refused, time, actor, address, action, target, result, count, since, detail, hash }
    }
}
