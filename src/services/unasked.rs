//! Whose health is to be asked: each release once, however often something of it changes until then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::names::ReleaseName;

/// How many are remembered by name. Where there are more, all are asked.
const MOST: usize = 1024;

/// The releases whose health is to be asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// All that have a check.
    pub(super) all: bool,
    /// These, and what was heard of each, which counts where Podman can't be asked.
    pub(super) releases: BTreeMap<ReleaseName, Option<bool>>,
}

impl Due {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.releases.is_empty()
    }

    /// This one, too.
    pub(super) fn add(&mut self, release: ReleaseName, said: Option<bool>) {
        let heard = self.releases.entry(release).or_default();
        *heard = said.or(*heard);
        if self.releases.len() > MOST {
            self.releases.clear();
            self.all = true;
        }
    }

    /// These, too; what was heard of them is newer.
    pub(super) fn take(&mut self, newer: Self) {
        self.all |= newer.all;
        for (release, said) in newer.releases {
            self.add(release, said);
        }
    }
}

/// Those that nobody has begun to ask yet. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Unasked {
    due: Arc<Mutex<Due>>,
    bell: Arc<Notify>,
}

impl Unasked {
    /// Does `f` with them.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Due) -> T) -> T {
        f(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This one; `said` is what was heard of it.
    pub(super) fn add(&self, release: ReleaseName, said: Option<bool>) {
        self.with(|due| due.add(release, said));
        self.bell.notify_one();
    }

    /// All of them: changes were missed.
    pub(super) fn all(&self) {
        self.with(|due| due.all = true);
        self.bell.notify_one();
    }

    /// Those that could not be asked. What was heard since is newer.
    pub(super) fn again(&self, mut before: Due) {
        self.with(|due| {
            before.take(std::mem::take(due));
            *due = before;
        });
        self.bell.notify_one();
    }

    /// Waits until there are some.
    pub(super) async fn wait(&self) {
        while self.with(|due| due.is_empty()) {
            self.bell.notified().await;
        }
    }

    /// Takes them. They are whoever's who takes them.
    pub(super) fn take(&self) -> Due {
        self.with(std::mem::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ReleaseNumber;

    fn release(number: u32) -> ReleaseName {
        ReleaseName::new(&"blog".parse().unwrap(), ReleaseNumber(number))
    }

    #[test]
    fn each_release_stands_there_once_with_what_was_heard_last() {
        let unasked = Unasked::default();
        for said in [Some(false), Some(true), None] {
            unasked.add(release(1), said);
        }
        unasked.add(release(2), None);
        let due = unasked.take();
        assert_eq!(due, Due { all: false, releases: [(release(1), Some(true)), (release(2), None)].into() });
        assert!(unasked.take().is_empty());
        unasked.add(release(1), Some(false));
        unasked.again(due);
        assert_eq!(unasked.take().releases, [(release(1), Some(false)), (release(2), None)].into());
    }

    #[tokio::test]
    async fn they_are_bounded_and_waited_for() {
        let unasked = Unasked::default();
        for number in 0..=u32::try_from(MOST).unwrap() {
            unasked.add(release(number), Some(true));
        }
        unasked.wait().await;
        assert_eq!(unasked.take(), Due { all: true, releases: BTreeMap::new() });
        assert!(futures_util::poll!(std::pin::pin!(unasked.wait())).is_pending());
    }
}
