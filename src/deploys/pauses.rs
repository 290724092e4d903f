//! Pauses that grow: what can't be done is tried again, and less and less often.

use std::time::Duration;

/// The pauses of one thing that is tried again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Pauses {
    /// From `first`, twice as long each time, up to `most`.
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// How long to wait this time.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.most);
        now
    }

    /// It went well.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_to_a_bound_and_begin_anew() {
        let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(5));
        let taken: Vec<u64> = (0..5).map(|_| pauses.next().as_secs()).collect();
        assert_eq!(taken, [1, 2, 4, 5, 5]);
        pauses.reset();
        assert_eq!(pauses.next().as_secs(), 1);
    }
}
