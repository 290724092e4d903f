//! Whose password is looked at next. Each look takes 19 MiB and a core for a moment, so one is taken at a time, and who
//! waits has one of a few places.
//!
//! Guessing is bounded twice: by address (`limits.guesses`), and for all strangers together ([`EACH`], [`AT_ONCE`]). The
//! second bound makes nobody wait who has the right password, where that can be told:
//!
//! - One that was good in this run of the agent, or was set in it, needs no look ([`super::password`]).
//! - Where the right one was shown in the last months ([`AttemptSource::Known`]) goes before all strangers and is not counted among
//!   them.
//! - Of strangers, those go first whose network, and the larger one around it, was wrong the least. Who comes from a new
//!   address passes everybody who has guessed already; a flood must show an unused network for each guess to be beside it.
//!
//! What is left: who comes from a new address, just after the agent's start, while thousands of unused networks guess at
//! once, may be told to try again. A token is never kept waiting.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::problem::{Code, Problem};

/// How long lies between two looks at strangers' passwords, on the average of a day: 86,400.
const EACH: Duration = Duration::from_secs(1);
/// How many of those may come at once after a quiet time.
const AT_ONCE: u32 = 60;
/// How many may wait.
const PLACES: usize = 64;
/// How many of one network may.
const PLACES_EACH: usize = 4;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many counts of wrong ones are kept. Whom chance puts into one shares it.
const COUNTS: usize = 8192;
/// A network that was wrong is thought half as bad after this.
const HALF: Duration = Duration::from_secs(600);

/// From where a password comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptSource {
    /// The right one was shown from there not long ago.
    Known(IpAddr),
    /// From anywhere else.
    Stranger(IpAddr),
}

impl AttemptSource {
    fn network(self) -> IpAddr {
        match self {
            Self::Known(network) | Self::Stranger(network) => network,
        }
    }
}

/// The right to take the one look. It goes where the work goes, which may go on when its client has left.
#[derive(Debug)]
pub(super) struct Turn {
    _one: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Waiting {
    from: AttemptSource,
    go: oneshot::Sender<Turn>,
}

#[derive(Debug)]
struct Queue {
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    /// Whether somebody is giving turns.
    served: bool,
    /// When strangers have all their looks again.
    rested: Instant,
    /// How often networks were wrong lately.
    wrong: Box<[u16]>,
    halved: Instant,
}

/// The order of the looks.
#[derive(Debug)]
pub(super) struct Gate {
    queue: Mutex<Queue>,
    came: Notify,
    one: Arc<Semaphore>,
    chance: RandomState,
}

/// What goes next.
enum Next {
    /// The one that waits at this place.
    This(usize),
    /// A stranger, from then on.
    At(Instant),
    Nobody,
}

/// The provider's or the campus's network around one.
fn around(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> 48)).into(),
    }
}

impl Queue {
    /// Who waits no longer gives its place up.
    fn tidy(&mut self) {
        self.waiting.retain(|waiting| !waiting.go.is_closed());
        while self.halved.elapsed() >= HALF {
            let quiet = self.wrong.iter_mut().fold(0, |all, count| {
                *count /= 2;
                all | *count
            }) == 0;
            self.halved = if quiet { Instant::now() } else { self.halved + HALF };
        }
    }

    /// When the next stranger may go.
    fn next_stranger(&self) -> Instant {
        self.rested.checked_sub(EACH * (AT_ONCE - 1)).unwrap_or_else(Instant::now)
    }
}

fn too_often(seconds: u64) -> Problem {
    let mut problem = Problem::new(Code::RateLimited, "too many passwords are being tried at this host").with_hint(
        "try again; a token is never kept waiting: `podkeeper token create --name NAME` on the host makes one",
    );
    problem.retry_after = Some(seconds);
    problem
}

impl Gate {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let wrong = vec![0; COUNTS].into_boxed_slice();
        let queue = Queue { waiting: Vec::new(), served: false, rested: now, wrong, halved: now };
        Self {
            queue: Mutex::new(queue),
            came: Notify::new(),
            one: Arc::new(Semaphore::new(1)),
            chance: RandomState::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, network: IpAddr) -> usize {
        usize::try_from(self.chance.hash_one(network) % COUNTS as u64).unwrap_or(0)
    }

    /// The smaller, the sooner.
    fn rank(&self, queue: &Queue, from: AttemptSource) -> u16 {
        match from {
            AttemptSource::Known(_) => 0,
            AttemptSource::Stranger(network) => {
                let wrong = |network| queue.wrong[self.count(network)];
                // Many share the larger one, so it counts little.
                1_u16.saturating_add(wrong(network).max(wrong(around(network)) / 16))
            }
        }
    }

    /// A password from there was wrong.
    pub(super) fn was_wrong(&self, from: AttemptSource) {
        let network = from.network();
        let mut queue = self.queue();
        for network in [network, around(network)] {
            let count = &mut queue.wrong[self.count(network)];
            *count = count.saturating_add(1);
        }
    }

    /// A turn without waiting for others' guesses: for work that is no guess.
    pub(super) async fn own_turn(&self) -> Option<Turn> {
        self.one.clone().acquire_owned().await.ok().map(|one| Turn { _one: one })
    }

    /// Waits for a turn.
    pub(super) async fn turn(self: &Arc<Self>, from: AttemptSource) -> Result<Turn, Problem> {
        let turn = self.enter(from)?;
        match tokio::time::timeout(PATIENCE, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            // Another one took the place, or too many went before.
            Ok(Err(_)) | Err(_) => Err(too_often(1)),
        }
    }

    fn enter(self: &Arc<Self>, from: AttemptSource) -> Result<oneshot::Receiver<Turn>, Problem> {
        let (go, turn) = oneshot::channel();
        let serve = {
            let mut queue = self.queue();
            queue.tidy();
            let network = from.network();
            if queue.waiting.iter().filter(|waiting| waiting.from.network() == network).count() >= PLACES_EACH {
                return Err(too_often(1));
            }
            if queue.waiting.len() >= PLACES {
                let ranks: Vec<u16> = queue.waiting.iter().map(|waiting| self.rank(&queue, waiting.from)).collect();
                let worst = ranks.iter().copied().max().unwrap_or(0);
                if self.rank(&queue, from) > worst {
                    return Err(too_often(1));
                }
                // Among equals nobody keeps a place by being early: a flood always is.
                let all: Vec<usize> = (0..ranks.len()).filter(|&place| ranks[place] == worst).collect();
                queue.waiting.remove(all[rand::rng().random_range(0..all.len())]);
            }
            queue.waiting.push(Waiting { from, go });
            !std::mem::replace(&mut queue.served, true)
        };
        self.came.notify_one();
        if serve {
            let gate = Arc::clone(self);
            tokio::spawn(async move { gate.serve().await });
        }
        Ok(turn)
    }

    fn next(&self, queue: &mut Queue) -> Next {
        queue.tidy();
        let next = (0..queue.waiting.len()).min_by_key(|&place| self.rank(queue, queue.waiting[place].from));
        match next {
            None => Next::Nobody,
            Some(place) if matches!(queue.waiting[place].from, AttemptSource::Known(_)) => Next::This(place),
            Some(place) => {
                let at = queue.next_stranger();
                if at <= Instant::now() { Next::This(place) } else { Next::At(at) }
            }
        }
    }

    /// Gives turns until nobody waits.
    async fn serve(&self) {
        loop {
            let next = {
                let mut queue = self.queue();
                let next = self.next(&mut queue);
                if matches!(next, Next::Nobody) {
                    queue.served = false;
                    return;
                }
                next
            };
            if let Next::At(at) = next {
                let _ = tokio::time::timeout_at(at, self.came.notified()).await;
                continue;
            }
            // Who comes meanwhile may be before the one that was found.
            let Some(turn) = self.own_turn().await else { return };
            let mut queue = self.queue();
            if let Next::This(place) = self.next(&mut queue) {
                let Waiting { from, go } = queue.waiting.remove(place);
                if matches!(from, AttemptSource::Stranger(_)) {
                    queue.rested = queue.rested.max(Instant::now()) + EACH;
                }
                // Who has left gives the turn back by dropping it.
                let _ = go.send(turn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(number: u32) -> AttemptSource {
        AttemptSource::Stranger(Ipv4Addr::from_bits(0x0a00_0000 + number).into())
    }

    const OWNER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    /// A gate at which this many strangers' networks have guessed and go on guessing, as many as there are places for,
    /// and which has no look left for strangers.
    async fn besieged(networks: u32) -> (Arc<Gate>, Vec<oneshot::Receiver<Turn>>) {
        let gate = Arc::new(Gate::new());
        for number in 0..networks {
            gate.was_wrong(stranger(number));
        }
        for number in 0..AT_ONCE {
            drop(gate.turn(stranger(number)).await.unwrap());
        }
        let waiting = (0..networks).filter_map(|number| gate.enter(stranger(number)).ok()).collect();
        (gate, waiting)
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_guesses_are_bounded_all_together() {
        let gate = Arc::new(Gate::new());
        let (began, mut looks) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(600) {
            looks += u32::from(gate.turn(stranger(looks)).await.is_ok());
        }
        assert!((600..=600 + AT_ONCE).contains(&looks), "{looks}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_known_waits_for_no_stranger() {
        let (gate, _waiting) = besieged(500).await;
        let began = Instant::now();
        for _ in 0..100 {
            gate.turn(AttemptSource::Known(OWNER)).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_address_goes_before_those_that_were_wrong() {
        let (gate, _waiting) = besieged(500).await;
        let began = Instant::now();
        gate.turn(AttemptSource::Stranger(OWNER)).await.unwrap();
        assert!(began.elapsed() <= EACH);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_beside_those_that_were_wrong_are_no_new_ones() {
        let gate = Arc::new(Gate::new());
        let in_one =
            |number: u128| AttemptSource::Stranger(Ipv6Addr::from_bits((0x2001_0db8 << 96) | (number << 64)).into());
        for number in 0..1000 {
            gate.was_wrong(in_one(number));
        }
        let queue = gate.queue();
        assert!(gate.rank(&queue, in_one(60_000)) > gate.rank(&queue, AttemptSource::Stranger(OWNER)) + 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_has_a_few_places_and_one_look_at_a_time() {
        let (gate, _waiting) = besieged(5000).await;
        assert_eq!(gate.queue().waiting.len(), PLACES);
        let gate = Arc::new(Gate::new());
        let held = gate.own_turn().await.unwrap();
        let waiting: Vec<_> = (0..100).filter_map(|_| gate.enter(AttemptSource::Known(OWNER)).ok()).collect();
        assert_eq!(waiting.len(), PLACES_EACH);
        let mut other = gate.enter(stranger(1)).unwrap();
        tokio::time::sleep(PATIENCE / 2).await;
        assert!(other.try_recv().is_err(), "one look at a time");
        drop((held, waiting));
        assert!(other.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_loses_the_place_is_told_when_to_try_again() {
        let gate = Arc::new(Gate::new());
        let _held = gate.own_turn().await.unwrap();
        let problem = gate.turn(stranger(1)).await.unwrap_err();
        assert_eq!((problem.code, problem.retry_after), (Code::RateLimited, Some(1)));
        assert!(gate.queue().waiting.iter().all(|waiting| waiting.go.is_closed()));
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_ones_are_forgotten_in_time() {
        let gate = Gate::new();
        for _ in 0..100 {
            gate.was_wrong(stranger(1));
        }
        tokio::time::sleep(HALF * 10).await;
        gate.queue().tidy();
        assert_eq!(gate.rank(&gate.queue(), stranger(1)), 1);
    }
}
