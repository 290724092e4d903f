//! The audit log.

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::problem::Code;
use crate::store;

/// How many rows a page has at most.
const MOST: u64 = 1000;

/// Which page of it is wanted.
pub type AuditPage = super::page::Page<MOST, 100>;

/// A page of it, the newest first.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Audit {
    /// The rows.
    #[schemars(length(max = MOST))]
    pub rows: Vec<AuditRow>,
    /// What asks for the next page; none on the last one.
    pub cursor: Option<String>,
    /// What is no longer there: the oldest of what was done and of what was refused.
    pub dropped: Vec<Dropped>,
}

/// The oldest rows, which went by their number or their age.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
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
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
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
    /// A status or `done`, a problem's code, or `cut-off` where nobody knows.
    #[schemars(with = "Outcome")]
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

/// How something ended, in the interface's description. The text itself is a part of the row's hash.
struct Outcome;

impl JsonSchema for Outcome {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Outcome".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = ["done", "cut-off"].into_iter().chain(Code::ALL.map(Code::as_str)).collect();
        json_schema!({ "type": "string", "anyOf": [{ "enum": words }, { "pattern": "^[1-5][0-9]{2}$" }] })
    }
}

/// Whether the audit log is whole.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum Verified {
    /// It is.
    Whole {
        /// True.
        whole: bool,
        /// How many rows there are.
        rows: u64,
        /// The hash of the last one.
        head: Option<String>,
    },
    /// A row is missing or was changed.
    Broken {
        /// False.
        whole: bool,
        /// That row.
        broken_at: i64,
    },
}

impl From<store::AuditState> for Verified {
    fn from(state: store::AuditState) -> Self {
        match state {
            store::AuditState::Whole { rows, head } => Self::Whole { whole: true, rows, head },
            store::AuditState::Broken { id } => Self::Broken { whole: false, broken_at: id },
        }
    }
}
