//! The deployments: one row each, a step written down before the next begins.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::services::{self, Desired, find_kept};
use super::{EnvChange, Store, StoreError, env, history, micros, parse, time};
use crate::names::{Actor, CommitId, DeploymentId, ReleaseNumber, ServiceId, ServiceName};
use crate::problem::{Code, Problem};
use crate::text::PlainLines;
use crate::words::words;

/// How many that are too many go where one comes: maintenance takes the others.
const AT_ONCE: u32 = 10;

words! {
    /// Why a deployment was asked for.
    Cause {
        /// Somebody pushed to the hosted repository.
        Push = "push",
        /// A forge said that somebody pushed there.
        Hook = "hook",
        /// Somebody started the service.
        Start = "start",
        /// Somebody restarted the service.
        Restart = "restart",
        /// Its environment changed.
        Env = "env",
        /// Somebody went back to an older release.
        Rollback = "rollback",
    }
}

words! {
    /// How far a deployment is.
    DeploymentState {
        /// It waits for its turn.
        Queued = "queued",
        /// The commit is being fetched.
        Fetching = "fetching",
        /// The image is being built.
        Building = "building",
        /// The new release is being started beside the old one.
        Starting = "starting",
        /// The new release is being found healthy, and given the traffic.
        Checking = "checking",
        /// The new release has the traffic.
        Live = "live",
        /// It failed; what ran before goes on.
        Failed = "failed",
        /// Somebody cancelled it.
        Cancelled = "cancelled",
        /// A newer one took its place before it began.
        Superseded = "superseded",
    }
}

impl DeploymentState {
    /// Whether nothing more will happen to a deployment in this state.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Live | Self::Failed | Self::Cancelled | Self::Superseded)
    }

    /// The column that holds the time of this step.
    fn column(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Fetching => "fetching",
            Self::Building => "building",
            Self::Starting => "starting",
            Self::Checking => "checking",
            Self::Live | Self::Failed | Self::Cancelled | Self::Superseded => "finished",
        }
    }
}

/// A deployment, as its row tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its number.
    pub id: DeploymentId,
    /// The service's row.
    pub service_id: ServiceId,
    /// The service.
    pub service: ServiceName,
    /// Why it was asked for.
    pub cause: Cause,
    /// Who asked, as [`Actor`] is shown.
    pub actor: String,
    /// How far it is.
    pub state: DeploymentState,
    /// The commit, once it is known.
    pub commit: Option<CommitId>,
    /// The release whose image is used again, which is the current one of its turn unless it goes back; none: the commit is
    /// built.
    pub from_release: Option<ReleaseNumber>,
    /// The release that it makes, once it has a number.
    pub release: Option<ReleaseNumber>,
    /// Why it failed. It is written down before anything of it is cleared away, when it has not ended yet.
    pub problem: Option<Problem>,
    /// The last lines of the failed build or unit.
    pub tail: Option<PlainLines>,
    /// When each step began, in order; the last is when it ended.
    pub steps: Vec<(DeploymentState, Timestamp)>,
}

impl Deployment {
    /// From when on the journal may tell of it: where the clock was set back meanwhile, that is not when it was queued.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        let now = (!self.state.is_final()).then(Timestamp::now);
        self.steps.iter().map(|(_, at)| *at).chain(now).min()
    }
}

/// What makes a deployment.
#[derive(Debug, Clone)]
pub struct NewDeployment {
    /// The service.
    pub service: ServiceName,
    /// Why.
    pub cause: Cause,
    /// Who asks.
    pub actor: Actor,
    /// The commit, where the cause names one.
    pub commit: Option<CommitId>,
    /// The release whose image is used again.
    pub from_release: Option<ReleaseNumber>,
    /// The environment that the service gets at the same moment. Where it goes back to a release, it gets that one's when
    /// the deployment is live.
    pub env: Option<EnvChange>,
}

impl NewDeployment {
    /// Builds a commit; without `commit` it is the newest of the service's branch, as it is when the deployment's turn comes.
    #[must_use]
    pub fn build(service: &ServiceName, cause: Cause, actor: Actor, commit: Option<CommitId>) -> Self {
        Self { service: service.clone(), cause, actor, commit, from_release: None, env: None }
    }

    /// Makes a release of the image of `release` again.
    #[must_use]
    pub fn again(service: &ServiceName, cause: Cause, actor: Actor, release: ReleaseNumber) -> Self {
        Self { service: service.clone(), cause, actor, commit: None, from_release: Some(release), env: None }
    }
}

/// Some deployments, newest first, and where the next page begins.
#[derive(Debug, Clone)]
pub struct DeploymentPage {
    /// The deployments.
    pub deployments: Vec<Deployment>,
    /// The page after this one holds those below this number.
    pub next: Option<DeploymentId>,
}

const SELECT: &str = "SELECT d.id, d.service, s.name, d.cause, d.actor, d.state, d.commit_id, d.from_release, d.release, \
     d.problem, d.detail, d.hint, d.tail, d.queued, d.fetching, d.building, d.starting, d.checking, d.finished \
     FROM deployments d JOIN services s ON s.id = d.service";

fn read_row(row: &Row<'_>) -> Result<Deployment, StoreError> {
    let state = DeploymentState::from_word(&row.get::<_, String>(5)?).ok_or(StoreError::Corrupt { what: "state" })?;
    let problem = match row.get::<_, Option<String>>(9)? {
        None => None,
        Some(word) => Some(Problem {
            code: Code::from_word(&word).ok_or(StoreError::Corrupt { what: "problem" })?,
            detail: row.get::<_, Option<String>>(10)?.unwrap_or_default().into(),
            hint: row.get::<_, Option<String>>(11)?.map(Into::into),
            retry_after: None,
        }),
    };
    let began = [
        DeploymentState::Queued,
        DeploymentState::Fetching,
        DeploymentState::Building,
        DeploymentState::Starting,
        DeploymentState::Checking,
        state,
    ];
    let mut steps = Vec::new();
    for (index, step) in began.into_iter().enumerate() {
        if let Some(at) = row.get::<_, Option<i64>>(13 + index)? {
            steps.push((step, time(at, "step")?));
        }
    }
    Ok(Deployment {
        id: DeploymentId(row.get(0)?),
        service_id: row.get(1)?,
        service: parse(&row.get::<_, String>(2)?, "name")?,
        cause: Cause::from_word(&row.get::<_, String>(3)?).ok_or(StoreError::Corrupt { what: "cause" })?,
        actor: row.get(4)?,
        state,
        commit: row.get::<_, Option<String>>(6)?.map(|text| parse(&text, "commit")).transpose()?,
        from_release: row.get::<_, Option<u32>>(7)?.map(ReleaseNumber),
        release: row.get::<_, Option<u32>>(8)?.map(ReleaseNumber),
        problem,
        tail: row.get::<_, Option<String>>(12)?.map(Into::into),
        steps,
    })
}

pub(super) fn find(connection: &Connection, id: DeploymentId) -> Result<Deployment, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE d.id = ?1"))?;
    let found = statement.query_row([id.0], |row| Ok(read_row(row))).optional()?;
    found.unwrap_or(Err(StoreError::NoDeployment(id.0)))
}

pub(super) fn select(
    connection: &Connection,
    rest: &str,
    args: impl rusqlite::Params,
) -> Result<Vec<Deployment>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} {rest}"))?;
    let mut rows = statement.query(args)?;
    let mut deployments = Vec::new();
    while let Some(row) = rows.next()? {
        deployments.push(read_row(row)?);
    }
    Ok(deployments)
}

fn set_state(
    transaction: &Transaction<'_>,
    id: DeploymentId,
    state: DeploymentState,
    problem: Option<&Problem>,
    tail: Option<&PlainLines>,
) -> Result<Deployment, StoreError> {
    // What the row says of why it ends is kept until it has: a stop may have written that between two steps.
    let changed = transaction.execute(
        &format!(
            "UPDATE deployments SET state = ?2, {} = ?3, problem = iif(?8, ?4, problem), detail = iif(?8, ?5, detail), \
             hint = iif(?8, ?6, hint), tail = iif(?8, ?7, tail) WHERE id = ?1 AND finished IS NULL",
            state.column()
        ),
        params![
            id.0,
            state.as_str(),
            micros(Timestamp::now()),
            problem.map(|problem| problem.code.as_str()),
            problem.map(|problem| &*problem.detail),
            problem.and_then(|problem| problem.hint.as_deref()),
            tail.map(|tail| &**tail),
            state.is_final()
        ],
    )?;
    let deployment = find(transaction, id)?;
    if changed == 0 { Err(StoreError::Ended(id.0)) } else { Ok(deployment) }
}

pub(super) fn see(transaction: &Transaction<'_>, service: ServiceId, commit: &CommitId) -> Result<(), StoreError> {
    transaction.execute("UPDATE services SET seen_commit = ?2 WHERE id = ?1", params![service, commit.as_str()])?;
    Ok(())
}

/// The same of what a deployment has found at its turn, unless somebody has pushed since it was asked for: that is newer.
fn see_found(transaction: &Transaction<'_>, deployment: &Deployment, commit: &CommitId) -> Result<(), StoreError> {
    let sql = "SELECT 1 FROM deployments WHERE service = ?1 AND id > ?2 AND commit_id IS NOT NULL AND cause = 'push'";
    let is_passed = transaction.prepare_cached(sql)?.exists(params![deployment.service_id, deployment.id.0])?;
    if is_passed { Ok(()) } else { see(transaction, deployment.service_id, commit) }
}

/// Ends the service's waiting deployments as `state`, but for one that goes back where `keeps_rollback` says so, and tells
/// which they were.
fn end_waiting(
    transaction: &Transaction<'_>,
    service: ServiceId,
    state: DeploymentState,
    keeps_rollback: bool,
) -> Result<Vec<DeploymentId>, StoreError> {
    let mut waiting = Vec::new();
    {
        let mut statement = transaction.prepare_cached(
            "SELECT id FROM deployments WHERE service = ?1 AND state = 'queued' AND finished IS NULL \
             AND NOT (?2 AND cause = 'rollback')",
        )?;
        let mut rows = statement.query(params![service, keeps_rollback])?;
        while let Some(row) = rows.next()? {
            waiting.push(DeploymentId(row.get(0)?));
        }
    }
    for id in &waiting {
        set_state(transaction, *id, state, None, None)?;
    }
    Ok(waiting)
}

/// What waits to be built of a service, with its commit where it names one.
fn waiting_build(transaction: &Transaction<'_>, service: ServiceId) -> Result<Option<Option<CommitId>>, StoreError> {
    let sql = "SELECT commit_id FROM deployments WHERE service = ?1 AND state = 'queued' AND finished IS NULL \
               AND from_release IS NULL ORDER BY id DESC LIMIT 1";
    let waiting =
        transaction.prepare_cached(sql)?.query_row([service], |row| row.get::<_, Option<String>>(0)).optional()?;
    waiting.map(|commit| commit.map(|text| parse(&text, "commit")).transpose()).transpose()
}

/// Whether a release is under way that a service which was stopped will run with all the same: one that somebody asked for
/// after that. What was under way then is cancelled, or has given its release the traffic and been stopped with it.
fn is_starting(transaction: &Transaction<'_>, service: ServiceId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM deployments WHERE service = ?1 AND finished IS NULL AND problem IS NULL \
               AND (release IS NULL OR release IS NOT (SELECT current_release FROM services WHERE id = ?1))";
    Ok(transaction.prepare_cached(sql)?.exists([service])?)
}

/// Queues a deployment. Its service's environment is replaced where the new one brings it, and what waited before is
/// superseded: one that was to make the current release anew builds instead what waited to be built, and stands behind one
/// that goes back, whose release it makes anew. The answer names what is superseded, too. Neither a forge's delivery nor
/// another environment starts what is stopped: it is built when somebody starts that.
pub(super) fn queue(
    transaction: &Transaction<'_>,
    new: &NewDeployment,
) -> Result<(Deployment, Vec<DeploymentId>), StoreError> {
    let service = find_kept(transaction, &new.service)?;
    // A push that nobody told of was made before whoever stopped it.
    let is_nobodys = new.cause == Cause::Push && new.actor == Actor::Agent;
    let starts_nothing = matches!(new.cause, Cause::Hook | Cause::Env) || is_nobodys;
    if service.desired == Desired::Stopped && starts_nothing && !is_starting(transaction, service.id)? {
        return Err(StoreError::Stopped(new.service.to_string()));
    }
    if let Some(change) = &new.env {
        env::set(transaction, service.id, change)?;
    }
    let (mut commit, mut from_release) = (new.commit.clone(), new.from_release);
    // Who goes back wants nothing newer.
    let is_anew = from_release.is_some() && new.cause != Cause::Rollback;
    if is_anew && let Some(waiting) = waiting_build(transaction, service.id)? {
        (commit, from_release) = (waiting, None);
    }
    let superseded = end_waiting(transaction, service.id, DeploymentState::Superseded, is_anew)?;
    history::forget(transaction, service.id, AT_ONCE)?;
    transaction.execute(
        "INSERT INTO deployments (service, cause, actor, state, commit_id, from_release, queued, brings_env) \
         VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?6, ?7)",
        params![
            service.id,
            new.cause.as_str(),
            new.actor.to_string(),
            commit.as_ref().map(CommitId::as_str),
            from_release.map(|release| release.0),
            micros(Timestamp::now()),
            new.cause == Cause::Rollback
        ],
    )?;
    let deployment = find(transaction, DeploymentId(transaction.last_insert_rowid()))?;
    // What somebody asks for by its id may be any commit, and is not the branch's.
    if let Some(commit) = deployment.commit.as_ref().filter(|_| new.cause == Cause::Push) {
        see(transaction, service.id, commit)?;
    }
    Ok((deployment, superseded))
}

/// A service that shall not run any more, and what was cancelled for that.
#[derive(Debug)]
pub struct EndedService {
    /// The service.
    pub service: services::Service,
    /// What waited, and has ended.
    pub waiting: Vec<DeploymentId>,
    /// What is under way, and can only come to nothing.
    pub begun: Vec<DeploymentId>,
}

impl Store {
    /// Queues a deployment, in one transaction.
    pub async fn request_deployment(&self, new: NewDeployment) -> Result<(Deployment, Vec<DeploymentId>), StoreError> {
        self.write(move |transaction| queue(transaction, &new)).await
    }

    /// Writes down that a service shall not run, or shall be removed, and cancels what is being deployed of it: also of one
    /// that is being removed, which whoever asked last has with its volumes or without them.
    pub async fn end_service(&self, name: &ServiceName, desired: Desired) -> Result<EndedService, StoreError> {
        let name = name.clone();
        self.write(move |transaction| {
            let service = match services::find(transaction, &name)? {
                Some(service) if desired.is_deleted() => service,
                _ => find_kept(transaction, &name)?,
            };
            services::set_desired(transaction, service.id, desired)?;
            let waiting = end_waiting(transaction, service.id, DeploymentState::Cancelled, false)?;
            // One that has given its release the traffic ends as it would have: that release is what is ended then.
            let sql = "UPDATE deployments SET problem = ?2, detail = ?3 WHERE service = ?1 AND finished IS NULL \
                       AND problem IS NULL \
                       AND (release IS NULL OR release IS NOT (SELECT current_release FROM services WHERE id = ?1)) \
                       RETURNING id";
            let cancelled = Problem::cancelled();
            let mut statement = transaction.prepare_cached(sql)?;
            let begun = statement
                .query_map(params![service.id, cancelled.code.as_str(), &*cancelled.detail], |row| {
                    row.get(0).map(DeploymentId)
                })?;
            let begun = begun.collect::<Result<Vec<_>, _>>()?;
            Ok(EndedService { service: services::Service { desired, ..service }, waiting, begun })
        })
        .await
    }

    /// Writes down that a deployment begins a step. `commit` is kept where it is given.
    pub async fn step(
        &self,
        id: DeploymentId,
        state: DeploymentState,
        commit: Option<CommitId>,
    ) -> Result<Deployment, StoreError> {
        self.write(move |transaction| {
            let mut found = 0;
            if let Some(commit) = &commit {
                found = transaction.execute(
                    "UPDATE deployments SET commit_id = ?2 WHERE id = ?1 AND commit_id IS NOT ?2",
                    params![id.0, commit.as_str()],
                )?;
            }
            let deployment = set_state(transaction, id, state, None, None)?;
            if let Some(commit) = commit.filter(|_| found > 0) {
                see_found(transaction, &deployment, &commit)?;
            }
            Ok(deployment)
        })
        .await
    }

    /// Gives a deployment the number of the release that it makes; the same one again where it has it already. Its turn has
    /// come with that: one that makes the current release anew takes the one that is it by now.
    pub async fn number_release(&self, id: DeploymentId) -> Result<ReleaseNumber, StoreError> {
        self.write(move |transaction| {
            let deployment = find(transaction, id)?;
            if let Some(release) = deployment.release {
                return Ok(release);
            }
            let number: u32 = transaction.query_row(
                "UPDATE services SET next_release = next_release + 1 WHERE id = ?1 RETURNING next_release - 1",
                [deployment.service_id],
                |row| row.get(0),
            )?;
            transaction.execute(
                "UPDATE deployments SET release = ?2, from_release = iif(from_release IS NULL OR cause = 'rollback', \
                 from_release, coalesce((SELECT current_release FROM services WHERE id = service), from_release)) \
                 WHERE id = ?1",
                params![id.0, number],
            )?;
            Ok(ReleaseNumber(number))
        })
        .await
    }

    /// Writes down why a deployment will have failed, or that it was cancelled, before it ends: whoever goes on from the row
    /// only clears away, and ends it so. The first reason stays; the answer is the row.
    pub async fn note_problem(
        &self,
        id: DeploymentId,
        problem: Problem,
        tail: Option<PlainLines>,
    ) -> Result<Deployment, StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "UPDATE deployments SET problem = ?2, detail = ?3, hint = ?4, tail = ?5 \
                 WHERE id = ?1 AND finished IS NULL AND problem IS NULL",
                params![id.0, problem.code.as_str(), &*problem.detail, problem.hint.as_deref(), tail.as_deref()],
            )?;
            find(transaction, id)
        })
        .await
    }

    /// Ends a deployment. One that is live, and goes back to a release, brings that one's environment.
    pub async fn finish(
        &self,
        id: DeploymentId,
        state: DeploymentState,
        problem: Option<Problem>,
        tail: Option<PlainLines>,
    ) -> Result<Deployment, StoreError> {
        self.write(move |transaction| {
            let ended = set_state(transaction, id, state, problem.as_ref(), tail.as_ref())?;
            if state == DeploymentState::Live {
                env::bring(transaction, id)?;
            }
            Ok(ended)
        })
        .await
    }

    /// Cancels a deployment that waits; none where it does not, or not any more.
    pub async fn cancel_waiting(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        self.write(move |transaction| {
            let waits = find(transaction, id)?.state == DeploymentState::Queued;
            waits.then(|| set_state(transaction, id, DeploymentState::Cancelled, None, None)).transpose()
        })
        .await
    }

    /// The deployment `id`.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Deployment, StoreError> {
        self.read(move |connection| find(connection, id)).await
    }

    /// What of a service has not ended, oldest first: at most one that is under way, and one that waits, or one that goes
    /// back and one behind it.
    pub async fn unfinished(&self, name: &ServiceName) -> Result<Vec<Deployment>, StoreError> {
        let name = name.clone();
        self.read(move |connection| {
            select(connection, "WHERE s.name = ?1 AND d.finished IS NULL ORDER BY d.id LIMIT 100", [name.as_str()])
        })
        .await
    }

    /// How many deployments of all services haven't ended.
    pub async fn unfinished_count(&self) -> Result<u32, StoreError> {
        self.read(|connection| {
            Ok(connection.query_row("SELECT count(*) FROM deployments WHERE finished IS NULL", [], |row| row.get(0))?)
        })
        .await
    }

    /// A service's deployments, newest first, at most `limit`, from below `before` on.
    pub async fn deployments(
        &self,
        name: &ServiceName,
        before: Option<DeploymentId>,
        limit: u32,
    ) -> Result<DeploymentPage, StoreError> {
        let name = name.clone();
        self.read(move |connection| {
            let service = find_kept(connection, &name)?;
            let before = before.map_or(i64::MAX, |id| id.0);
            let mut deployments = select(
                connection,
                "WHERE d.service = ?1 AND d.id < ?2 ORDER BY d.id DESC LIMIT ?3",
                params![service.id, before, i64::from(limit) + 1],
            )?;
            let more = deployments.len() > limit as usize;
            deployments.truncate(limit as usize);
            let next = more.then(|| deployments.last().map(|last| last.id)).flatten();
            Ok(DeploymentPage { deployments, next })
        })
        .await
    }

    /// The last deployment of each service, by the service's row; the newest that built from a commit decides what
    /// the agent still owes to a pushed branch.
    pub async fn last_deployments(&self) -> Result<std::collections::HashMap<ServiceId, Deployment>, StoreError> {
        self.read(|connection| {
            let last = select(connection, "WHERE d.id IN (SELECT max(id) FROM deployments GROUP BY service)", [])?;
            Ok(last.into_iter().map(|deployment| (deployment.service_id, deployment)).collect())
        })
        .await
    }

    /// How far the last deployment is of each service that is to run and never had a release, by the service's row.
    pub async fn first_deployments(&self) -> Result<std::collections::HashMap<ServiceId, DeploymentState>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.id, (SELECT d.state FROM deployments d WHERE d.service = s.id ORDER BY d.id DESC LIMIT 1) AS last \
                 FROM services s WHERE s.current_release IS NULL AND last IS NOT NULL",
            )?;
            let mut rows = statement.query([])?;
            let mut states = std::collections::HashMap::new();
            while let Some(row) = rows.next()? {
                let state = DeploymentState::from_word(&row.get::<_, String>(1)?);
                states.insert(row.get(0)?, state.ok_or(StoreError::Corrupt { what: "state" })?);
            }
            Ok(states)
        })
        .await
    }

    /// The newest commit of the service's branch that the agent has seen to; none where its repository was just made.
    pub async fn seen_commit(&self, service: ServiceId) -> Result<Option<CommitId>, StoreError> {
        self.read(move |connection| {
            let text: Option<String> =
                connection.query_row("SELECT seen_commit FROM services WHERE id = ?1", [service], |row| row.get(0))?;
            text.map(|text| parse(&text, "seen_commit")).transpose()
        })
        .await
    }

    /// Writes down that nothing is owed for `commit`.
    pub async fn set_seen_commit(&self, service: ServiceId, commit: CommitId) -> Result<(), StoreError> {
        self.write(move |transaction| see(transaction, service, &commit)).await
    }
}

#[cfg(test)]
mod tests;
