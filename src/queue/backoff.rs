//! Pauses that grow: what can't be done is tried again, and less and less often.

use std::time::Duration;

/// The pauses of one thing that is tried again and again.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// From `first`, twice as long each time, up to `most`.
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// How long to wait this time.
    pub fn next_pause(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.most);
        now
    }

    /// Whether no pause was taken since it went well.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// It went well.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        assert!(backoff.is_fresh());
        let taken: Vec<u64> = (0..5).map(|_| backoff.next_pause().as_secs()).collect();
        assert_eq!(taken, [1, 2, 4, 5, 5]);
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert_eq!(backoff.next_pause().as_secs(), 1);
    }
}
