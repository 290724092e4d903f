//! What is looked for in the journal, and by whom.

use super::entry::Entry;
use crate::names::{Actor, DeploymentId, ReleaseName, ServiceName};

/// The field `state` of the agent's last entry of a deployment is one of these: behind it its story is over.
pub const FINAL: [&str; 4] = ["live", "failed", "cancelled", "superseded"];

/// Whose lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// Those of all releases of a service, and of these of its builds.
    Service(ServiceName, Vec<DeploymentId>),
    /// Those of one release.
    Release(ReleaseName),
    /// Those of one release, and what Podman itself says of starting it.
    Unit(ReleaseName),
    /// The whole story of a deployment: the agent's steps and the build's lines.
    Deployment(DeploymentId),
    /// The build's lines alone.
    Build(DeploymentId),
    /// The one entry of the agent's whose field `mark` is this.
    Mark(String),
}

/// Who reads: permits are counted by that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum By {
    /// The agent, for what it does itself. It waits for nobody.
    Agent,
    /// Somebody who is known.
    Actor(Actor),
    /// Whoever else; all of them are one.
    #[default]
    Anybody,
}

/// Which way a page goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the start, or behind the cursor, on.
    Forward,
    /// From the end, or before the cursor, back.
    #[default]
    Backward,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// Who reads.
    pub by: By,
    /// Whose lines.
    pub select: Select,
    /// Not before this moment, in microseconds since 1970.
    pub since: Option<u64>,
    /// Not after this moment.
    pub until: Option<u64>,
    /// Only what lies behind the entry at this cursor, and before that at the other, whatever the clock said; they need not be
    /// the query's own.
    pub behind: Option<String>,
    /// The other.
    pub before: Option<String>,
    /// Beyond this line, in the query's direction.
    pub cursor: Option<String>,
    /// Forward: that line itself too.
    pub including: bool,
    /// Which way.
    pub direction: Direction,
    /// How many lines at most. A page of very long lines has fewer.
    pub lines: usize,
    /// Only lines that this regular expression finds something in.
    pub grep: Option<String>,
    /// Only lines of this syslog priority or a graver one.
    pub priority: Option<u8>,
}

impl Query {
    /// The newest 200 lines of `select`.
    #[must_use]
    pub fn newest(select: Select) -> Self {
        Self {
            by: By::default(),
            select,
            since: None,
            until: None,
            behind: None,
            before: None,
            cursor: None,
            including: false,
            direction: Direction::Backward,
            lines: 200,
            grep: None,
            priority: None,
        }
    }
}

/// A query that is to be followed. Its place in the journal is fixed, however late somebody begins to read.
#[derive(Debug, Clone)]
pub struct Begun {
    /// What is behind that place.
    pub(super) query: Query,
    /// And so many of the newest lines up to it.
    pub(super) back: usize,
}

impl From<Query> for Begun {
    /// Forward from where the query begins.
    fn from(query: Query) -> Self {
        Self { query, back: 0 }
    }
}

impl Begun {
    /// What of the journal it is; where it begins stays as it is.
    pub fn query(&mut self) -> &mut Query {
        &mut self.query
    }

    /// All up to this line was read.
    pub fn read(&mut self, line: &Entry) {
        self.query.cursor = Some(line.cursor.clone());
        self.query.including = false;
        self.back = 0;
    }
}

/// What follows.
pub(super) struct Start {
    /// At first these, oldest first.
    pub(super) lines: Vec<Entry>,
    /// Then this, forward.
    pub(super) rest: Query,
}
