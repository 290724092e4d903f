//! Deployments.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::KEEP;
use crate::names::{CommitId, DeploymentId, ReleaseNumber, ServiceName};
use crate::problem::{self, Code};
use crate::queue;
use crate::store::{self, Cause, DeploymentState};

/// A deployment.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
pub struct Deployment {
    /// Its number.
    pub id: DeploymentId,
    /// The service.
    pub service: ServiceName,
    /// Why it was asked for.
    pub cause: Cause,
    /// Who asked, such as `token:laptop`.
    pub actor: String,
    /// How far it is.
    pub state: DeploymentState,
    /// What it waits for where it is queued; null where nothing keeps it.
    pub waits_for: Option<WaitsFor>,
    /// The commit, once it is known.
    pub commit: Option<CommitId>,
    /// The release that it makes, once it has a number.
    pub release: Option<ReleaseNumber>,
    /// The release whose image is used again, where nothing is built.
    pub from_release: Option<ReleaseNumber>,
    /// When each step began; the last is when it ended.
    #[schemars(with = "BTreeMap<DeploymentState, super::fields::Moment>")]
    pub steps: BTreeMap<DeploymentState, Timestamp>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// The last lines of the failed build or program.
    pub tail: Option<String>,
}

/// What a queued deployment waits for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum WaitsFor {
    /// The one of the same service that is under way, or that is cleared up behind.
    Deployment {
        /// Its number.
        deployment: DeploymentId,
    },
    /// The end of another build.
    Builds {
        /// How many run at once on this host (`builds.parallel`).
        parallel: usize,
    },
}

impl From<queue::WaitsFor> for WaitsFor {
    fn from(waits_for: queue::WaitsFor) -> Self {
        match waits_for {
            queue::WaitsFor::Deployment(deployment) => Self::Deployment { deployment },
            queue::WaitsFor::Builds(parallel) => Self::Builds { parallel },
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment { deployment } => write!(f, "waits for deployment {deployment}"),
            Self::Builds { parallel } => write!(f, "waits for another build to end: builds.parallel is {parallel}"),
        }
    }
}

impl Deployment {
    /// The deployment of this row, with what it waits for.
    #[must_use]
    pub fn new(row: store::Deployment, waits_for: Option<queue::WaitsFor>) -> Self {
        // It is written down a little before.
        let has_ended = row.state.is_final();
        Self {
            id: row.id,
            service: row.service,
            cause: row.cause,
            actor: row.actor,
            state: row.state,
            waits_for: waits_for.map(Into::into),
            commit: row.commit,
            release: row.release,
            from_release: row.from_release,
            steps: row.steps.into_iter().collect(),
            problem: row.problem.filter(|_| has_ended).map(Problem::from),
            tail: row.tail.filter(|_| has_ended).map(Into::into),
        }
    }
}

/// Why something failed.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
pub struct Problem {
    /// Of the closed list of codes.
    pub code: Code,
    /// What happened.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl From<problem::Problem> for Problem {
    fn from(problem: problem::Problem) -> Self {
        Self { code: problem.code, detail: problem.detail.into(), hint: problem.hint.map(Into::into) }
    }
}

/// Some deployments, newest first.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Deployments {
    /// The deployments.
    #[schemars(length(max = MOST))]
    pub deployments: Vec<Deployment>,
    /// What to send as `cursor` for the page after this one; null at the end.
    pub cursor: Option<String>,
}

/// How many deployments a page has at most.
const MOST: u64 = 200;

/// Which page of a service's deployments is wanted.
pub type DeploymentsPage = super::page::Page<MOST, 50>;

/// A release that is kept.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Release {
    /// Its number.
    pub release: ReleaseNumber,
    /// The commit of its image.
    pub commit: Option<CommitId>,
    /// The deployment that made it.
    pub deployment: DeploymentId,
    /// Why that was asked for.
    pub cause: Cause,
    /// The release whose image it has, where it was not built.
    pub from_release: Option<ReleaseNumber>,
    /// When it was made.
    #[schemars(with = "super::fields::Moment")]
    pub created: Timestamp,
}

impl From<(store::Release, store::Deployment)> for Release {
    fn from((release, deployment): (store::Release, store::Deployment)) -> Self {
        Self {
            release: release.number,
            commit: release.commit,
            deployment: deployment.id,
            cause: deployment.cause,
            from_release: deployment.from_release,
            created: release.created,
        }
    }
}

/// The releases that a service can go back to, newest first: as many as it keeps.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct Releases {
    /// The releases.
    #[schemars(length(max = *KEEP.end()))]
    pub releases: Vec<Release>,
    /// The one with the traffic.
    pub current: Option<ReleaseNumber>,
    /// The one before it, which a rollback without a number goes to.
    pub before: Option<ReleaseNumber>,
}

/// What to build.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The whole id of a commit of its repository; without it the newest of its branch. Where it runs already, or is on its
    /// way there, the answer is that deployment.
    pub commit: Option<CommitId>,
}

/// Which release to go back to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Its number; without it the one before.
    #[serde(default, deserialize_with = "super::fields::number")]
    #[schemars(with = "Option<ReleaseNumber>")]
    pub release: Option<u64>,
}

/// How to restart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Without a build. In a query any value sets it but `false`, `0`, `no`, `null` and an empty one.
    #[serde(default, deserialize_with = "super::fields::is_set")]
    pub quick: bool,
}
