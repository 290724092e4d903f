//! Deployments.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{CommitId, DeploymentId, ReleaseNumber, ServiceName};
use crate::problem;
use crate::store;

/// A deployment.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Deployment {
    /// Its number.
    pub id: DeploymentId,
    /// The service.
    pub service: ServiceName,
    /// `push`, `hook`, `start`, `restart`, `env` or `rollback`.
    pub cause: &'static str,
    /// Who asked, such as `token:laptop`.
    pub actor: String,
    /// `queued`, `fetching`, `building`, `starting`, `checking`, `live`, `failed`, `cancelled` or `superseded`.
    pub state: &'static str,
    /// The commit, once it is known.
    pub commit: Option<CommitId>,
    /// The release that it makes, once it has a number.
    pub release: Option<ReleaseNumber>,
    /// The release whose image is used again, where nothing is built.
    pub from_release: Option<ReleaseNumber>,
    /// When each step began; the last is when it ended.
    #[schemars(with = "BTreeMap<String, super::fields::Moment>")]
    pub steps: BTreeMap<&'static str, Timestamp>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// The last lines of the failed build or program.
    pub tail: Option<String>,
}

impl From<store::Deployment> for Deployment {
    fn from(row: store::Deployment) -> Self {
        // It is written down a little before.
        let has_ended = row.state.is_final();
        Self {
            id: row.id,
            service: row.service,
            cause: row.cause.as_str(),
            actor: row.actor,
            state: row.state.as_str(),
            commit: row.commit,
            release: row.release,
            from_release: row.from_release,
            steps: row.steps.into_iter().map(|(state, at)| (state.as_str(), at)).collect(),
            problem: row.problem.filter(|_| has_ended).map(Problem::from),
            tail: row.tail.filter(|_| has_ended).map(Into::into),
        }
    }
}

/// Why something failed.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Problem {
    /// One of the closed list of codes.
    pub code: &'static str,
    /// What happened.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl From<problem::Problem> for Problem {
    fn from(problem: problem::Problem) -> Self {
        Self { code: problem.code.as_str(), detail: problem.detail.into(), hint: problem.hint.map(Into::into) }
    }
}

/// Some deployments, newest first.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Deployments {
    /// The deployments.
    pub deployments: Vec<Deployment>,
    /// What to send as `cursor` for the page after this one; null at the end.
    pub cursor: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageOf {
    /// How many at most: 1 to 200, 50 without it.
    #[serde(default, deserialize_with = "super::fields::number")]
    pub limit: Option<u64>,
    /// What the page before said.
    pub cursor: Option<String>,
}

/// A release that is kept.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Release {
    /// Its number.
    pub release: ReleaseNumber,
    /// The commit of its image.
    pub commit: Option<CommitId>,
    /// The deployment that made it.
    pub deployment: DeploymentId,
    /// Why that was asked for: `push`, `hook`, `start`, `restart`, `env` or `rollback`.
    pub cause: &'static str,
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
            cause: deployment.cause.as_str(),
            from_release: deployment.from_release,
            created: release.created,
        }
    }
}

/// The releases that a service can go back to, newest first: as many as it keeps.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Releases {
    /// The releases.
    pub releases: Vec<Release>,
    /// The one with the traffic.
    pub current: Option<ReleaseNumber>,
    /// The one before it, which a rollback without a number goes to.
    pub before: Option<ReleaseNumber>,
}

/// Which release to go back to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Its number; without it the one before.
    #[serde(default, deserialize_with = "super::fields::number")]
    pub release: Option<u64>,
}

/// How to restart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Without a build.
    #[serde(default, deserialize_with = "super::fields::flag")]
    pub quick: bool,
}
