//! What maintenance could not do. It is remembered until it is done, so that somebody who asks later is told, too,
//! and not only who reads the log at the time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::DeployError;
use crate::names::ServiceName;
use crate::problem::chain;
use crate::text::Plain;

/// How many are remembered. A host that has more has one cause for most of them.
const MOST: usize = 100;
/// How many bytes of a reason are shown.
const WHY: usize = 1024;

/// A part of the look: what it does for one service or for the whole host. What fails of one keeps no other from its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// A store that could not be written.
    Store,
    /// The list of all services, without which there is nothing to look at.
    Services,
    /// A service's deployments that wait.
    Waiting,
    /// What a service's branch holds and nobody has deployed.
    Branch,
    /// A service's deployments and deliveries that are kept too long.
    History,
    /// What builds left that nobody waits for.
    Builds,
    /// Whether a build is under way, for which others wait.
    UnderWay,
    /// A service's images and containers that were never released.
    Unreleased,
    /// Secrets that nothing names.
    Secrets,
    /// The ids of removed services.
    Ids,
    /// What the host shows of all services.
    View,
    /// A service that is not as it is wanted.
    Wanted,
    /// Routes that are nobody's.
    Routes,
    /// Ports of releases that are gone, which routes may have led to.
    Ports,
    /// What is kept from build to build.
    Caches,
    /// Working containers that killed builds left.
    Containers,
    /// Images that nothing names.
    Images,
    /// Layers that no image is made of.
    Layers,
    /// Volumes without a name that nothing has.
    Volumes,
}

impl Task {
    /// What was to be done, as in "can't …".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "write to the store",
            Self::Services => "list the services",
            Self::Waiting => "see which of its deployments wait",
            Self::Branch => "see what its branch holds",
            Self::History => "forget what is kept too long of its deployments",
            Self::Builds => "clear away what builds left",
            Self::UnderWay => "see whether a build is under way",
            Self::Unreleased => "remove what was never released",
            Self::Secrets => "remove secrets that nothing names",
            Self::Ids => "give the ids of removed services back",
            Self::View => "see what the host shows of the services",
            Self::Wanted => "bring it to what is wanted of it",
            Self::Routes => "withdraw routes that are nobody's",
            Self::Ports => "give back the ports of releases that are gone",
            Self::Caches => "look after the builds' caches",
            Self::Containers => "remove containers that builds left",
            Self::Images => "remove images that nothing names",
            Self::Layers => "be rid of layers that nothing is made of",
            Self::Volumes => "remove volumes that nothing has",
        }
    }
}

/// What could not be done, and still can't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What was to be done.
    pub task: Task,
    /// For which service; none where it concerns the whole host.
    pub service: Option<ServiceName>,
    /// Why not.
    pub why: Plain,
    /// What to do next, where that is known.
    pub hint: Option<Plain>,
    /// Since when.
    pub since: Timestamp,
    /// When it was tried last.
    pub last: Timestamp,
    /// How often it was tried in vain.
    pub times: u32,
}

#[derive(Debug, Default)]
struct Table {
    all: BTreeMap<(Option<ServiceName>, Task), Trouble>,
    /// There were more than are remembered.
    has_more: bool,
}

/// All that the look could not do, each once.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Table>);

impl Troubles {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host's first, then by service; and whether there are more than are remembered.
    pub(super) fn all(&self) -> (Vec<Trouble>, bool) {
        let table = self.table();
        (table.all.values().cloned().collect(), table.has_more)
    }

    /// Forgets what concerned services that are gone.
    fn keep(&self, is_there: impl Fn(&ServiceName) -> bool) {
        self.table().all.retain(|(service, _), _| service.as_ref().is_none_or(&is_there));
    }

    fn is_done(&self, task: Task, service: Option<&ServiceName>) -> Option<Trouble> {
        let mut table = self.table();
        let was = table.all.remove(&(service.cloned(), task));
        // Whatever had no place is met again by the next look.
        if table.all.len() < MOST {
            table.has_more = false;
        }
        was
    }

    /// Remembers it, and tells whether it is worth a line of the log: it is new, has another reason, or goes on for long.
    fn failed(&self, task: Task, service: Option<&ServiceName>, error: &DeployError) -> bool {
        let (why, hint, now) = (short(chain(error)), error.problem().hint, Timestamp::now());
        let mut table = self.table();
        let is_full = table.all.len() >= MOST;
        match table.all.entry((service.cloned(), task)) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                let is_another = known.why != why;
                known.times = known.times.saturating_add(1);
                (known.why, known.hint, known.last) = (why, hint, now);
                is_another || known.times.is_power_of_two()
            }
            Entry::Vacant(_) if is_full => {
                table.has_more = true;
                true
            }
            Entry::Vacant(place) => {
                let service = service.cloned();
                place.insert(Trouble { task, service, why, hint, since: now, last: now, times: 1 });
                true
            }
        }
    }
}

/// The beginning of a reason, whatever others have put into it.
fn short(mut why: String) -> Plain {
    if why.len() > WHY {
        why.truncate(why.floor_char_boundary(WHY));
        why.push('…');
    }
    why.into()
}

/// One look, which goes on whatever fails.
pub(super) struct MaintenancePass<'a> {
    troubles: &'a Troubles,
    all_done: bool,
}

impl<'a> MaintenancePass<'a> {
    pub(super) fn begin(troubles: &'a Troubles) -> Self {
        Self { troubles, all_done: true }
    }

    /// Whether all was done so far.
    pub(super) fn all_done(&self) -> bool {
        self.all_done
    }

    /// Forgets what concerned services that are gone.
    pub(super) fn keep(&self, is_there: impl Fn(&ServiceName) -> bool) {
        self.troubles.keep(is_there);
    }

    /// What a part of the look came to; where it failed, none, and it is remembered.
    pub(super) fn note<T>(
        &mut self,
        task: Task,
        service: Option<&ServiceName>,
        done: Result<T, impl Into<DeployError>>,
    ) -> Option<T> {
        let about = service.map(tracing::field::display);
        match done {
            Ok(done) => {
                if let Some(was) = self.troubles.is_done(task, service) {
                    tracing::info!(service = about, "done after {} tries in vain: {}", was.times, task.as_str());
                }
                Some(done)
            }
            Err(error) => {
                let error = error.into();
                self.all_done = false;
                if self.troubles.failed(task, service, &error) {
                    tracing::warn!(service = about, "can't {}: {}", task.as_str(), chain(&error));
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Code, Problem};
    use crate::services::ServiceError;

    fn name(text: &str) -> ServiceName {
        text.parse().unwrap()
    }

    fn failure(why: &str) -> Result<(), ServiceError> {
        Err(Problem::new(Code::Internal, why).with_hint("look").into())
    }

    #[test]
    fn what_fails_is_remembered_once_until_it_is_done() {
        let troubles = Troubles::default();
        for why in ["no", "still no"] {
            let mut pass = MaintenancePass::begin(&troubles);
            assert_eq!(pass.note(Task::Wanted, Some(&name("blog")), failure(why)), None);
            assert_eq!(pass.note(Task::Branch, Some(&name("blog")), Ok::<_, ServiceError>(7)), Some(7));
            assert_eq!(pass.note(Task::View, None, failure("away")), None);
            assert!(!pass.all_done());
        }
        let (all, more) = troubles.all();
        let told: Vec<_> =
            all.iter().map(|one| (one.service.clone(), one.task, one.why.to_string(), one.times)).collect();
        let (view, wanted) = ("internal: Away.".to_owned(), "internal: Still no.".to_owned());
        assert_eq!(told, [(None, Task::View, view, 2), (Some(name("blog")), Task::Wanted, wanted, 2)]);
        assert!(!more && all.iter().all(|one| one.since <= one.last && one.hint.as_deref() == Some("Look.")));

        let mut pass = MaintenancePass::begin(&troubles);
        pass.note(Task::Wanted, Some(&name("blog")), Ok::<_, ServiceError>(()));
        assert!(pass.all_done());
        assert_eq!(troubles.all().0.len(), 1);
    }

    #[test]
    fn they_are_bounded_and_go_with_their_service() {
        let troubles = Troubles::default();
        let mut pass = MaintenancePass::begin(&troubles);
        for number in 0..=MOST {
            pass.note(Task::Wanted, Some(&name(&format!("a{number}"))), failure("no"));
        }
        assert_eq!((troubles.all().0.len(), troubles.all().1), (MOST, true));
        pass.keep(|service| *service == name("a1"));
        pass.note(Task::View, None, Ok::<_, ServiceError>(()));
        assert_eq!((troubles.all().0.len(), troubles.all().1), (1, false));
    }

    #[test]
    fn the_log_has_a_line_where_something_is_new() {
        let troubles = Troubles::default();
        let told: Vec<bool> = ["a", "a", "a", "b", "b"]
            .map(|why| troubles.failed(Task::Ids, None, &failure(why).unwrap_err().into()))
            .to_vec();
        assert_eq!(told, [true, true, false, true, false]);
    }

    #[test]
    fn of_a_long_reason_its_beginning_is_kept() {
        let troubles = Troubles::default();
        troubles.failed(Task::Ids, None, &failure(&"é".repeat(WHY)).unwrap_err().into());
        let why = troubles.all().0.remove(0).why;
        assert!(why.ends_with("é…") && why.len() <= WHY + '…'.len_utf8(), "{why}");
    }
}
