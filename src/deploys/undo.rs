//! What is done when a deployment fails or is cancelled: everything of it goes, what ran before goes on, and the row
//! tells why.

use tracing::{Instrument, Span};

use super::explain::{BuildFacts, MissingSource, Step};
use super::room::make_room;
use super::starting::host_architecture;
use super::take_place::{STOP, start_again};
use super::{DeployError, Uses};
use crate::builds::BuildError;
use crate::journal::{By, Entry, Query, Select};
use crate::names::{DeploymentId, ReleaseName, ServiceName};
use crate::problem::{Code, Problem, chain, sentence};
use crate::services::ServiceError;
use crate::store::{Deployment, DeploymentState, Desired, StoreError};
use crate::text::PlainLines;

/// What Podman says where a container is gone before it has asked how that ended.
const NOISE: [&str; 3] = ["internal libpod error", "conmon exited prematurely", "cannot remove container"];
/// How many of the last lines a failed deployment keeps.
const TAIL: usize = 20;
/// And how many bytes of them.
const TAIL_BYTES: usize = 8 * 1024;
/// How many bytes of what failed are looked at.
const LOOKED_AT: usize = 64 * 1024;
/// How many of a build's last lines are looked at for its last step.
const STEPS: usize = 200;

/// The undoing of a deployment that did not come to its end.
#[derive(Debug)]
pub(super) struct Undo<'a> {
    pub(super) uses: &'a Uses,
    pub(super) id: DeploymentId,
    /// Why it did not.
    pub(super) why: DeployError,
}

impl Undo<'_> {
    /// Undoes it, and ends its row. The error is a store in which that can't be written down.
    pub(super) async fn go(self) -> Result<(), StoreError> {
        let deployment = match self.uses.store.deployment(self.id).await {
            Ok(deployment) => deployment,
            // The service is gone with all its rows.
            Err(StoreError::NoDeployment(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        // Whoever ended its row, or ends it while it still waits, has said so: nothing more is told as its own.
        let span = if deployment.state.is_final() || deployment.state == DeploymentState::Queued {
            tracing::info_span!(parent: None, "clearing", service = %deployment.service)
        } else {
            Span::current()
        };
        self.undo(&deployment).instrument(span).await
    }

    async fn undo(&self, deployment: &Deployment) -> Result<(), StoreError> {
        let noted = self.note_why(deployment).await?;
        match self.give_back(deployment).await {
            Ok(()) => {}
            // Its row stays as it is, and its slot begins here again.
            Err(DeployError::Service(ServiceError::Store(error))) => return Err(error),
            Err(error) => tracing::warn!("the traffic is not given back yet: {}", chain(&error)),
        }
        match start_again(self.uses, deployment).await {
            Ok(()) => {}
            Err(DeployError::Service(ServiceError::Store(error))) => return Err(error),
            Err(error) => tracing::warn!("what ran before does not run again: {}", chain(&error)),
        }
        if let Err(error) = self.clear_away(deployment).await {
            tracing::warn!("not all of it is cleared away yet: {}", chain(&error));
            self.uses.services.cleanup_flag().set();
        }
        // What a build that filled the disk has in its cache, nobody else shall wait for.
        make_room(self.uses).await;
        let (queue, id, tail) = (&self.uses.queue, self.id, noted.tail);
        let ended = match noted.problem.filter(|problem| problem.code != Code::Cancelled) {
            Some(problem) if problem.code == Code::Unchanged => {
                let said = format!("kept: {}", problem.detail);
                queue.end(id, DeploymentState::Cancelled, Some(problem), None, said).await
            }
            Some(problem) => {
                let goes_on =
                    if goes_on(self.uses, &deployment.service).await { " What ran before goes on." } else { "" };
                let said = format!("failed: {}{goes_on}", problem.detail);
                queue.end(id, DeploymentState::Failed, Some(problem), tail, said).await
            }
            None => {
                queue.end(id, DeploymentState::Cancelled, Some(Problem::cancelled()), None, "cancelled".into()).await
            }
        };
        match ended {
            Ok(_) | Err(StoreError::Ended(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes down why, before anything of the deployment goes: whoever goes on from the row after that, be it because the
    /// store took nothing or the agent died, finds only what is missing by then.
    async fn note_why(&self, deployment: &Deployment) -> Result<Deployment, StoreError> {
        if deployment.state.is_final() || deployment.problem.is_some() {
            return Ok(deployment.clone());
        }
        let error = &self.why;
        if matches!(error, DeployError::Cancelled | DeployError::Ended) {
            return self.uses.store.note_problem(deployment.id, Problem::cancelled(), None).await;
        }
        let lines = self.last_lines(deployment).await;
        let tail = lines.as_deref().map(|lines| last_of(lines, TAIL, TAIL_BYTES).into());
        let problem = match error {
            DeployError::Build(error @ (BuildError::Failed(_) | BuildError::TimedOut(_))) => {
                self.why_not_built(deployment, error, lines.as_deref().unwrap_or_default()).await
            }
            DeployError::NotLive(facts) => facts.explain(tail.as_deref()),
            error => error.problem(),
        };
        // What only the host's administrator can make something of.
        let causes = chain(error);
        let is_explained = matches!(error, DeployError::NotLive(_) | DeployError::Build(BuildError::Failed(_)));
        if !is_explained && sentence(&causes) != problem.detail && causes != problem.to_string() {
            tracing::warn!("{causes}");
        }
        self.uses.store.note_problem(deployment.id, problem, tail).await
    }

    /// Where the switch was begun and could not be ended, the release before has the traffic again, and what was stopped before
    /// is so again.
    async fn give_back(&self, deployment: &Deployment) -> Result<(), DeployError> {
        let service = self.uses.store.find_service(&deployment.service).await?;
        let Some(number) = deployment.release.filter(|number| service.current == Some(*number)) else { return Ok(()) };
        self.uses.store.give_back(service.id, number, deployment.id).await?;
        let service = self.uses.store.find_service(&deployment.service).await?;
        Ok(self.uses.services.reconcile(&service).await?)
    }

    /// Removes the build and the release of a deployment that has not got the traffic.
    async fn clear_away(&self, deployment: &Deployment) -> Result<(), DeployError> {
        self.uses.builds.cancel(deployment.id).await?;
        self.uses.builds.clear(deployment.id).await?;
        let service = self.uses.store.find_service(&deployment.service).await?;
        let Some(number) = deployment.release.filter(|number| service.current != Some(*number)) else { return Ok(()) };
        let name = ReleaseName::new(&service.name, number);
        let units = &self.uses.units;
        // It serves nobody. While it is being started nothing passes systemd's SIGTERM on to its program.
        units.end(&name.unit(), STOP).await.map_err(ServiceError::from)?;
        self.uses.services.discard_release(&service, number).await?;
        units.reload().await.map_err(ServiceError::from)?;
        units.reset_failed(&name.unit()).await.map_err(ServiceError::from)?;
        Ok(())
    }

    async fn why_not_built(&self, deployment: &Deployment, error: &BuildError, lines: &str) -> Problem {
        let step = Step::last(lines);
        let BuildError::Failed(status) = *error else {
            let at = step.map_or_else(String::new, |step| format!(", the last of it at the step `{}`", step.text));
            return Problem { detail: format!("{error}{at}").into(), ..error.problem() };
        };
        let builds = &self.uses.builds;
        let sources = step.iter().flat_map(Step::sources).map(str::to_owned).collect();
        let missing = builds.missing_source(deployment.id, sources).await;
        let facts = BuildFacts {
            status,
            ran_out_of_memory: builds.ran_out_of_memory(deployment.id),
            memory_mib: self.uses.config.get().builds.memory_mib,
            lines,
            missing: missing.map(|(path, near, submodule)| MissingSource { path, near, submodule }),
            host: host_architecture(),
        };
        facts.explain()
    }

    /// The last lines of what failed: the unit's where it was started, else the build's.
    async fn last_lines(&self, deployment: &Deployment) -> Option<String> {
        let began = |state| deployment.steps.iter().any(|(step, _)| *step == state);
        let select = match deployment.release {
            Some(number) if began(DeploymentState::Starting) => {
                Select::Unit(ReleaseName::new(&deployment.service, number))
            }
            _ if began(DeploymentState::Building) => Select::Build(deployment.id),
            _ => return None,
        };
        let since = deployment.began().and_then(|at| u64::try_from(at.as_microsecond()).ok());
        // What it printed was on its way to journald before these. A build's is read when its unit has ended. What Podman
        // says of a unit goes another way than all else, and in turns with it: between the two marks it had its turn.
        let said = format!("the last lines of deployment {} lie before this", deployment.id);
        let (journal, limit) = (&self.uses.journal, self.uses.config.get().limits.journal);
        let mut end = journal.mark(&said, limit).await;
        if matches!(select, Select::Unit(_)) && end.is_some() {
            end = journal.mark(&said, limit).await;
        }
        let query = Query { by: By::Agent, since, cursor: end, lines: STEPS, ..Query::newest(select) };
        let page = self.uses.journal.query(query).await.ok()?;
        // As what Podman says of the unit is called.
        let unit = deployment.release.map(|number| ReleaseName::new(&deployment.service, number).instance());
        let lines: Vec<PlainLines> = page
            .entries
            .iter()
            .filter(|entry| !is_noise(entry, unit.as_deref()))
            .map(|entry| PlainLines::from_bytes(&entry.message))
            .filter(|line| !line.trim().is_empty() && !is_container_id(line))
            .collect();
        let text = lines.iter().map(|line| &**line).collect::<Vec<_>>().join("\n");
        (!text.is_empty()).then(|| last_of(&text, STEPS, LOOKED_AT).to_owned())
    }
}

/// The last so many lines of a text, and at most so many bytes of them.
fn last_of(text: &str, lines: usize, bytes: usize) -> &str {
    let begins = text.rmatch_indices('\n').nth(lines.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    let mut from = text.len().saturating_sub(bytes).max(begins);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Whether the service runs with a release that a deployment which failed has left as it was.
pub(super) async fn goes_on(uses: &Uses, service: &ServiceName) -> bool {
    let Ok(service) = uses.store.find_service(service).await else { return false };
    let Some(current) = service.current.filter(|_| service.desired == Desired::Running) else { return false };
    let unit = ReleaseName::new(&service.name, current).unit();
    // Where systemd can't be asked, nothing says that it does not.
    uses.units.unit(&unit).await.map_or(true, |unit| unit.is_some_and(|unit| unit.active.runs()))
}

/// What Podman itself says of a container that has ended while it looked after it, which is no reason for that. What says so
/// must be Podman: a program may print the same.
fn is_noise(entry: &Entry, unit: Option<&str>) -> bool {
    let message = String::from_utf8_lossy(&entry.message);
    unit.is_some() && entry.identifier.as_deref() == unit && NOISE.iter().any(|noise| message.contains(noise))
}

/// `podman run` prints the container's id, 64 hexadecimal digits, each time systemd starts the unit.
fn is_container_id(line: &str) -> bool {
    line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_podman_says_of_its_own_trouble_is_no_programs_last_line() {
        let said = |identifier: &str, message: &str| Entry {
            cursor: String::new(),
            time: 0,
            priority: 3,
            unit: None,
            identifier: Some(identifier.into()),
            pid: None,
            message: message.into(),
        };
        let noise = r#"level=error msg="cannot remove container 1f: conmon exited prematurely, exit code could not be retrieved: internal libpod error""#;
        for (line, is) in [
            (said("blog@2", noise), true),
            (said("blog@2", "Error: crun: executable file `x` not found in $PATH: OCI runtime error"), false),
            (said("blog", noise), false),
            (said("blog@1", noise), false),
        ] {
            assert_eq!(is_noise(&line, Some("blog@2")), is, "{line:?}");
            assert!(!is_noise(&line, None));
        }
    }

    #[test]
    fn a_texts_end_is_bounded_both_ways() {
        assert_eq!(last_of("a\nb\nc", 2, 99), "b\nc");
        assert_eq!(last_of("a\nb\nc", 9, 99), "a\nb\nc");
        assert_eq!(last_of("a\nbé", 9, 2), "é");
        assert_eq!(last_of("a\nbé", 9, 1), "");
        assert_eq!(last_of("", 9, 9), "");
    }
}
