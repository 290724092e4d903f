//! A push that waits for its deployment (`git push -o wait`), and ends as that does.
//!
//! Git tells the client how each ref went before it runs the hook that tells the agent, so nothing that the hook does makes a
//! push fail. What still can is the end of the answer: an error on the third band of the pack protocol's side band
//! (gitprotocol-pack(5)), before the last flush. The client prints it and ends with status 1; the refs stay moved.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

/// What the client prints where what it waited for is not live.
const SAID: &str = "the deployment is not live; your push is kept";
/// A packet begins with its length in so many hexadecimal digits (gitprotocol-common(5)).
const DIGITS: usize = 4;
/// The side band's number for what ends the client with an error.
const FATAL: u8 = 3;

/// The number of a push in this run of the agent, which nobody can guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PushId(u128);

impl fmt::Display for PushId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for PushId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl TryFrom<String> for PushId {
    type Error = std::num::ParseIntError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The pushes under way, each with whether it is to fail. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcomes {
    fails: Arc<Mutex<HashMap<PushId, bool>>>,
}

impl Outcomes {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<PushId, bool>) -> T) -> T {
        f(&mut self.fails.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A push begins.
    pub(super) fn begin(&self) -> Outcome {
        let id = PushId(rand::random());
        self.with(|all| all.insert(id, false));
        Outcome { id, all: self.clone() }
    }

    /// Says whether a push that is under way is to fail.
    pub(super) fn set(&self, id: PushId, fails: bool) {
        self.with(|all| all.get_mut(&id).map(|known| *known = fails));
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) id: PushId,
    all: Outcomes,
}

impl Outcome {
    fn fails(&self) -> bool {
        self.all.with(|all| all.get(&self.id).copied().unwrap_or(false))
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        self.all.with(|all| all.remove(&self.id));
    }
}

/// The answer to a push as it goes by: packets, of which the side band's are the outermost.
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// The digits of a length that have come.
    digits: Vec<u8>,
    /// How much of a packet is still to come.
    left: usize,
    /// Whether the next byte is a packet's first.
    begins: bool,
    /// Whether it is the side band: its packets begin with the number of their band.
    band: Option<bool>,
    /// What isn't packets is let through as it is.
    lost: bool,
}

impl Packets {
    /// Takes a piece of the answer. Where its last flush is in it and the push is to fail, the error goes before that.
    pub(super) fn pass(&mut self, piece: &[u8], outcome: &Outcome) -> Vec<u8> {
        let mut passed = Vec::with_capacity(piece.len());
        for &byte in piece {
            if self.lost {
                passed.push(byte);
            } else if self.left > 0 {
                if std::mem::take(&mut self.begins) && self.band.is_none() {
                    self.band = Some((1..=FATAL).contains(&byte));
                }
                self.left -= 1;
                passed.push(byte);
            } else {
                self.digits.push(byte);
                if self.digits.len() == DIGITS {
                    let digits = std::mem::take(&mut self.digits);
                    self.begin(&digits, outcome, &mut passed);
                }
            }
        }
        passed
    }

    fn begin(&mut self, digits: &[u8], outcome: &Outcome, passed: &mut Vec<u8>) {
        let length = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        match length {
            Some(0) => {
                if self.band == Some(true) && outcome.fails() {
                    passed.extend_from_slice(&packet(FATAL, SAID));
                }
            }
            Some(length) if length > DIGITS => (self.left, self.begins) = (length - DIGITS, true),
            Some(DIGITS) => {}
            _ => self.lost = true,
        }
        passed.extend_from_slice(digits);
    }
}

fn packet(band: u8, text: &str) -> Vec<u8> {
    let mut packet = format!("{:04x}", DIGITS + 1 + text.len()).into_bytes();
    packet.push(band);
    packet.extend_from_slice(text.as_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(fails: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let all = Outcomes::default();
        let outcome = all.begin();
        all.set(outcome.id, fails);
        let mut packets = Packets::default();
        pieces.iter().flat_map(|piece| packets.pass(piece, &outcome)).collect()
    }

    #[test]
    fn an_error_goes_before_the_last_flush_alone() {
        let report = [packet(1, "0000 is no flush within"), packet(2, "building\n")].concat();
        let whole = [report.as_slice(), b"0000"].concat();
        let wanted = [report.as_slice(), &packet(FATAL, SAID), b"0000"].concat();
        assert_eq!(passed(true, &[&whole]), wanted);
        assert_eq!(passed(false, &[&whole]), whole);
        // However it comes.
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(passed(true, &bytes), wanted);
        // A client that takes no side band, and what is none at all, get what git says.
        for other in [&b"000eunpack ok\n0000"[..], b"HTTP", b""] {
            assert_eq!(passed(true, &[other]), other);
        }
    }

    #[test]
    fn a_push_that_is_over_has_no_outcome() {
        let all = Outcomes::default();
        let (one, other) = (all.begin(), all.begin());
        all.set(one.id, true);
        assert!(one.fails() && !other.fails() && one.id.to_string().parse() == Ok(one.id));
        drop((one, other));
        all.set(PushId(7), true);
        assert!(all.with(|all| all.is_empty()));
        assert!("x".parse::<PushId>().is_err() && "".parse::<PushId>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_goes_through(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let whole = passed(false, &[&bytes]);
            // Digits of a length that never came whole are nothing's.
            proptest::prop_assert!(bytes.starts_with(&whole) && bytes.len() - whole.len() < DIGITS);
        }
    }
}
