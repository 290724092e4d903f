//! Which of two entries comes first, by their cursors, as libsystemd orders them: whatever the clock says.

use std::cmp::Ordering;

/// What a cursor tells of its entry (systemd's sd_journal_get_cursor): `s=ID;i=NUMBER;b=BOOT;m=MONOTONIC;t=REALTIME;x=HASH`,
/// the numbers in hexadecimal digits.
#[derive(Debug, Default)]
struct Told<'a> {
    /// Whose numbers `number` is one of.
    numbers: Option<&'a str>,
    number: Option<u64>,
    boot: Option<&'a str>,
    monotonic: Option<u64>,
    realtime: Option<u64>,
}

impl<'a> Told<'a> {
    fn by(cursor: &'a str) -> Self {
        let mut told = Self::default();
        let hexadecimal = |value| u64::from_str_radix(value, 16).ok();
        for (key, value) in cursor.split(';').filter_map(|part| part.split_once('=')) {
            match key {
                "s" => told.numbers = Some(value),
                "i" => told.number = hexadecimal(value),
                "b" => told.boot = Some(value),
                "m" => told.monotonic = hexadecimal(value),
                "t" => told.realtime = hexadecimal(value),
                _ => {}
            }
        }
        told
    }
}

/// How the entry at `one` lies to that at `other`.
pub(super) fn order(one: &str, other: &str) -> Ordering {
    let (one, other) = (Told::by(one), Told::by(other));
    let of_one = |same: bool, a: Option<u64>, b: Option<u64>| Some(a?.cmp(&b?)).filter(|order| same && order.is_ne());
    of_one(one.numbers == other.numbers, one.number, other.number)
        .or_else(|| of_one(one.boot == other.boot, one.monotonic, other.monotonic))
        .or_else(|| of_one(true, one.realtime, other.realtime))
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_ordered_as_they_were_written_and_not_by_the_clock() {
        let at = |s: &str, i: u32, b: &str, m: u32, t: u32| format!("s={s};i={i:x};b={b};m={m:x};t={t:x};x=0");
        for (one, other, order_of) in [
            // The clock was set back between the two.
            (at("a", 9, "b", 5, 9), at("a", 16, "b", 6, 1), Ordering::Less),
            (at("a", 16, "b", 6, 1), at("a", 9, "b", 5, 9), Ordering::Greater),
            // The journal was begun anew.
            (at("a", 9, "b", 5, 9), at("c", 1, "b", 6, 1), Ordering::Less),
            // And the host was booted.
            (at("a", 9, "b", 5, 1), at("c", 1, "d", 1, 9), Ordering::Less),
            (at("a", 9, "b", 5, 1), at("a", 9, "b", 5, 1), Ordering::Equal),
        ] {
            assert_eq!(order(&one, &other), order_of, "{one} {other}");
        }
    }
}
