//! Refusals that come again: the first of a kind is a row at once, and what follows is counted into one more row, with
//! its first and its last time. So a flood costs a few rows, however many requests and addresses it has.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::store::AuditEntry;

/// How many kinds are told apart at once; what comes beyond them is counted together. Strangers take none of the places of
/// those who are known.
const STRANGERS: usize = 16;
const KNOWN: usize = 64;
/// How long is counted; up to the longest, twice as long after each time in which there were more kinds than places.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(16 * 60);

/// Who, from where, what, and why not.
type Kind = (String, Option<String>, String, String);

#[derive(Debug)]
struct Again {
    count: u32,
    first: Timestamp,
    last: Timestamp,
}

#[derive(Debug)]
struct Kinds {
    most: usize,
    kinds: HashMap<Kind, Option<Again>>,
    /// Whether there were more.
    full: bool,
    length: Duration,
    ends: Instant,
}

impl Kinds {
    fn new(most: usize) -> Self {
        Self { most, kinds: HashMap::new(), full: false, length: SHORTEST, ends: Instant::now() + SHORTEST }
    }

    fn is_first(&mut self, entry: &AuditEntry) -> bool {
        let kind = (entry.actor.clone(), entry.address.clone(), entry.action.clone(), entry.result.clone());
        let free = self.kinds.len() < self.most;
        let counted = match self.kinds.entry(kind) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(place) if free => {
                place.insert(None);
                return true;
            }
            Slot::Vacant(_) => {
                self.full = true;
                // Results are a closed list, so these are few.
                self.kinds.entry((super::audit::nobody(), None, "many".to_owned(), entry.result.clone())).or_default()
            }
        };
        let now = Timestamp::now();
        let again = counted.get_or_insert(Again { count: 0, first: now, last: now });
        (again.count, again.last) = (again.count.saturating_add(1), now);
        false
    }

    /// What was counted, where its time is over.
    fn take(&mut self, at_once: bool) -> Vec<AuditEntry> {
        if !at_once && Instant::now() < self.ends {
            return Vec::new();
        }
        self.length = if std::mem::take(&mut self.full) { (self.length * 2).min(LONGEST) } else { SHORTEST };
        self.ends = Instant::now() + self.length;
        let kinds = std::mem::take(&mut self.kinds).into_iter();
        kinds.filter_map(|(kind, again)| Some(folded(kind, again?))).collect()
    }
}

fn folded((actor, address, action, result): Kind, Again { count, first, last }: Again) -> AuditEntry {
    AuditEntry {
        actor,
        address,
        action,
        target: "the same again".into(),
        result,
        count,
        detail: None,
        refused: true,
        counted: Some((first, last)),
    }
}

/// The refusals that came after the first of their kind.
#[derive(Debug)]
pub(super) struct Refusals {
    strangers: Mutex<Kinds>,
    known: Mutex<Kinds>,
}

fn lock(kinds: &Mutex<Kinds>) -> MutexGuard<'_, Kinds> {
    kinds.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self { strangers: Mutex::new(Kinds::new(STRANGERS)), known: Mutex::new(Kinds::new(KNOWN)) }
    }

    /// Whether this one is the first of its kind; else it is counted.
    pub(super) fn is_first(&self, entry: &AuditEntry) -> bool {
        let kinds = if entry.actor == super::audit::nobody() { &self.strangers } else { &self.known };
        lock(kinds).is_first(entry)
    }

    /// What was counted and whose time is over; at the agent's end all of it.
    pub(super) fn take(&self, at_once: bool) -> Vec<AuditEntry> {
        [&self.strangers, &self.known].into_iter().flat_map(|kinds| lock(kinds).take(at_once)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(actor: &str, address: u32) -> AuditEntry {
        AuditEntry {
            actor: actor.into(),
            address: Some(std::net::Ipv4Addr::from_bits(address).to_string()),
            action: "GET /services".into(),
            target: "/services".into(),
            result: "not-signed-in".into(),
            count: 1,
            detail: None,
            refused: true,
            counted: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_again_is_one_row_with_its_count_and_its_times() {
        let refusals = Refusals::new();
        let before = Timestamp::now();
        assert_eq!((0..100).filter(|_| refusals.is_first(&refusal("nobody", 1))).count(), 1);
        tokio::time::sleep(SHORTEST / 2).await;
        assert_eq!(refusals.take(false), []);
        tokio::time::sleep(SHORTEST / 2).await;
        let row = refusals.take(false).remove(0);
        assert_eq!((row.count, row.address.as_deref()), (99, Some("0.0.0.1")));
        let (first, last) = row.counted.unwrap();
        assert!(before <= first && first <= last && last <= Timestamp::now());
        assert!(refusals.is_first(&refusal("nobody", 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_addresses_is_few_rows_and_hides_nobody_who_is_known() {
        let refusals = Refusals::new();
        let (began, mut rows, mut counted) = (Instant::now(), 0, 0);
        for address in 0..24 * 3600 {
            let first = refusals.is_first(&refusal("nobody", address));
            assert!(!first || lock(&refusals.strangers).kinds.len() <= STRANGERS);
            let folded = refusals.take(false);
            rows += folded.len() + usize::from(first);
            counted += u32::from(first) + folded.iter().map(|row| row.count).sum::<u32>();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(24 * 3600));
        counted += refusals.take(true).iter().map(|row| row.count).sum::<u32>();
        assert_eq!(counted, 24 * 3600, "all of them are counted");
        assert!(rows < 2000, "{rows} rows in a day");
        lock(&refusals.strangers).kinds.clear();
        while refusals.is_first(&refusal("nobody", rand::random())) {}
        assert!(refusals.is_first(&refusal("token:ci", 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_flood_rows_come_soon_again() {
        let refusals = Refusals::new();
        for address in 0..100 {
            refusals.is_first(&refusal("nobody", address));
        }
        tokio::time::sleep(SHORTEST).await;
        assert_eq!(refusals.take(false).len(), 1);
        tokio::time::sleep(SHORTEST * 2).await;
        refusals.take(false);
        assert!(refusals.is_first(&refusal("nobody", 1)) && !refusals.is_first(&refusal("nobody", 1)));
        tokio::time::sleep(SHORTEST).await;
        assert_eq!(refusals.take(false).len(), 1);
    }
}
