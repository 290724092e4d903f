//! Ceremonies under way: what a browser was asked to sign, kept until its answer comes, once, or its time is over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Open ceremonies by their challenge, at most `most`: where there are more, the oldest goes.
#[derive(Debug)]
pub(super) struct Ceremonies<T> {
    open: VecDeque<(Instant, Vec<u8>, T)>,
    most: usize,
}

impl<T> Ceremonies<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { open: VecDeque::new(), most }
    }

    /// Opens one. Those that are older than `limit` go.
    pub(super) fn open(&mut self, challenge: Vec<u8>, ceremony: T, limit: Duration) {
        self.end(limit);
        if self.open.len() >= self.most {
            self.open.pop_front();
        }
        self.open.push_back((Instant::now(), challenge, ceremony));
    }

    /// Closes the one with this challenge. None: it was never open, is closed already, or is older than `limit`.
    pub(super) fn close(&mut self, challenge: &[u8], limit: Duration) -> Option<T> {
        self.end(limit);
        let at = self.open.iter().position(|(_, own, _)| own == challenge)?;
        self.open.remove(at).map(|(_, _, ceremony)| ceremony)
    }

    fn end(&mut self, limit: Duration) {
        while self.open.front().is_some_and(|(opened, ..)| opened.elapsed() >= limit) {
            self.open.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_challenge_is_good_once_and_for_its_time() {
        let mut all = Ceremonies::new(4);
        all.open(vec![1], "first", LONG);
        all.open(vec![2], "second", LONG);
        assert_eq!(all.close(&[2], LONG), Some("second"));
        assert_eq!(all.close(&[2], LONG), None);
        assert_eq!(all.close(&[3], LONG), None);
        assert_eq!(all.close(&[1], Duration::ZERO), None);
        assert_eq!(all.close(&[1], LONG), None);
    }

    #[test]
    fn there_is_room_for_a_new_one_and_the_oldest_goes() {
        let mut all = Ceremonies::new(2);
        for number in 0..1000_u32 {
            all.open(number.to_be_bytes().to_vec(), number, LONG);
        }
        assert_eq!(all.open.len(), 2);
        assert_eq!(all.close(&999_u32.to_be_bytes(), LONG), Some(999));
        assert_eq!(all.close(&0_u32.to_be_bytes(), LONG), None);
    }
}
