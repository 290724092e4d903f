//! When what is kept for a while is looked at again.

use std::time::Duration;

use tokio::time::Instant;

use crate::queue::Backoff;

/// How long between two looks at what is kept.
const EVERY: Duration = Duration::from_secs(3600);

/// What came of a look at what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleared {
    /// All that may go is gone.
    All,
    /// There was more than goes at once.
    Some,
    /// Something could not be removed, or a build is under way.
    Not,
}

impl Cleared {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Not, _) | (_, Self::Not) => Self::Not,
            (Self::Some, _) | (_, Self::Some) => Self::Some,
            (Self::All, Self::All) => Self::All,
        }
    }
}

/// When what is kept is looked at the next time: it is much work, and what can't be removed now can't be soon.
#[derive(Debug)]
pub(super) struct Due {
    at: Instant,
    backoff: Backoff,
}

impl Due {
    /// What can't be removed is tried again after `again` first.
    pub(super) fn new(again: Duration) -> Self {
        Self { at: Instant::now(), backoff: Backoff::new(again, EVERY) }
    }

    pub(super) fn is(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Something was cleared away, and what it had may be nobody's now.
    pub(super) fn now(&mut self) {
        self.at = Instant::now();
    }

    /// It was looked at.
    pub(super) fn next(&mut self, cleared: Cleared) {
        let pause = match cleared {
            Cleared::All => EVERY,
            Cleared::Some => Duration::ZERO,
            Cleared::Not => self.backoff.next_pause(),
        };
        if cleared != Cleared::Not {
            self.backoff.reset();
        }
        self.at = Instant::now() + pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_removed_is_tried_less_and_less_often() {
        let mut due = Due::new(SOON);
        let mut until_due = async |cleared: Cleared| {
            due.next(cleared);
            let began = Instant::now();
            while !due.is() {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            began.elapsed()
        };
        let mut taken = Vec::new();
        for _ in 0..12 {
            taken.push(until_due(Cleared::Not).await);
        }
        assert!(taken.is_sorted() && taken[0] == SOON && taken[1] > SOON && taken[11] == EVERY, "{taken:?}");
        assert_eq!(until_due(Cleared::Some).await, Duration::ZERO);
        assert_eq!(until_due(Cleared::Not).await, SOON);
        assert_eq!(until_due(Cleared::All).await, EVERY);
        due.now();
        assert!(due.is());
    }

    #[test]
    fn of_all_parts_the_worst_counts() {
        assert_eq!(Cleared::All.and(Cleared::All), Cleared::All);
        assert_eq!(Cleared::All.and(Cleared::Some), Cleared::Some);
        assert_eq!(Cleared::Some.and(Cleared::Not), Cleared::Not);
    }
}
