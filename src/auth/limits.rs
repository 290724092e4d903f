//! How often may be guessed, and how often anybody at all may ask: by address.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::gate::AttemptSource;
use super::identity::failed;
use super::{Auth, Peer, Presented};
use crate::connection::Connection;
use crate::permits::network;
use crate::problem::{Code, Problem};
use crate::store::GitPassword;

/// How often an address may make a call that takes no credential, a second.
const OPEN_CALLS: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
/// How many limits are kept apart. Whom chance puts into one shares it, so that no flood of addresses takes memory.
const BUCKETS: u64 = 8192;

#[derive(Debug)]
pub(super) struct Limits<C: Clock = DefaultClock> {
    chance: RandomState,
    clock: C,
    guesses: Buckets<C>,
    open_calls: Buckets<C>,
    handshakes: Buckets<C>,
}

type Buckets<C> = RateLimiter<u64, DefaultKeyedStateStore<u64>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl<C: Clock + Clone> Limits<C> {
    pub(super) fn new(guesses_a_minute: NonZeroU32, handshakes: NonZeroU32, clock: C) -> Self {
        let buckets = |quota| Buckets::new(quota, DefaultKeyedStateStore::default(), clock.clone());
        Self {
            chance: RandomState::new(),
            guesses: buckets(Quota::per_minute(guesses_a_minute)),
            open_calls: buckets(Quota::per_second(OPEN_CALLS)),
            handshakes: buckets(Quota::per_second(handshakes)),
            clock,
        }
    }

    fn count(&self, buckets: &Buckets<C>, key: impl Hash, what: &'static str) -> Result<(), Problem> {
        let bucket = self.chance.hash_one(key) % BUCKETS;
        buckets.check_key(&bucket).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            let mut problem = Problem::new(Code::RateLimited, what);
            problem.retry_after = Some(wait.as_secs() + 1);
            problem
        })
    }
}

impl Auth {
    /// The client's address: the connection's, or what a trusted proxy says of it. None: a process on the host.
    #[must_use]
    pub fn address(&self, presented: &Presented) -> Option<IpAddr> {
        let Peer::Network(peer) = presented.peer else { return None };
        let config = self.config.get();
        Some(client(peer, &presented.forwarded, &config.listen.trusted_proxies))
    }

    /// Counts a call that anybody may make.
    pub fn open_call(&self, presented: &Presented) -> Result<(), Problem> {
        let Some(address) = self.address(presented) else { return Ok(()) };
        let limits = &self.limits;
        limits.count(&limits.open_calls, network(address), "too many requests at once")
    }

    /// Counts a handshake of Socket.IO, which anybody may make.
    pub fn handshake(&self, presented: &Presented) -> Result<(), Problem> {
        let Some(address) = self.address(presented) else { return Ok(()) };
        let limits = &self.limits;
        limits.count(&limits.handshakes, network(address), "too many connects at once")
    }

    /// Says of the connection that carried it whose it is, but of a proxy's, which carries everybody.
    pub fn know(&self, presented: &Presented, connection: &Connection) {
        match presented.peer {
            Peer::Network(peer) if self.config.get().listen.trusted_proxies.contains(&peer) => {}
            _ => connection.know(),
        }
    }

    /// Counts a wrong key. What is 256 random bits can't be guessed, so who shows a right one is never kept waiting.
    pub fn wrong_key(&self, presented: &Presented) -> Result<(), Problem> {
        let Some(address) = self.address(presented) else { return Ok(()) };
        let limits = &self.limits;
        limits.count(&limits.guesses, network(address), "too many wrong keys came from this address")
    }

    /// Counts what was refused for the passkey, the link or the signature that was shown.
    pub fn guessed<T>(&self, presented: &Presented, shown: Result<T, Problem>) -> Result<T, Problem> {
        if let Err(Problem { code: Code::NotSignedIn | Code::InvalidPasskey, .. }) = shown {
            self.wrong_key(presented)?;
        }
        shown
    }

    /// Counts a try at the git password by its address, before it is looked at, and tells from what kind of place it comes.
    /// Others' wrong ones don't count: what bounds all of them together is the gate, which keeps who has the right one from
    /// waiting for them.
    pub(super) async fn attempt(
        &self,
        presented: &Presented,
        password: &GitPassword,
    ) -> Result<AttemptSource, Problem> {
        self.wrong_key(presented)?;
        // A process on the host has no address, and there is no flood of them.
        let Some(network) = self.network(presented) else {
            return Ok(AttemptSource::Known(Ipv4Addr::LOCALHOST.into()));
        };
        let known = self.store.git_password_comes_from(network, password.changed).await.map_err(failed)?;
        Ok(if known { AttemptSource::Known(network) } else { AttemptSource::Stranger(network) })
    }

    /// The network that a request comes from: an IPv4 address, or the 2^64 of IPv6 that one host has. None: this host.
    pub(super) fn network(&self, presented: &Presented) -> Option<IpAddr> {
        self.address(presented).map(network)
    }
}

/// Read from the right: each proxy appends the address that it was asked from, and only what a trusted one appended
/// counts.
fn client(peer: IpAddr, forwarded: &[String], trusted: &[IpAddr]) -> IpAddr {
    let mut client = peer;
    for entry in forwarded.iter().rev().flat_map(|header| header.rsplit(',')) {
        if !trusted.contains(&client) {
            break;
        }
        match address(entry.trim()) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn only_a_trusted_proxy_tells_the_clients_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (peer, forwarded, trusted, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], &[][..], "192.0.2.1"),
            ("127.0.0.1", &["198.51.100.7"], &["127.0.0.1"], "198.51.100.7"),
            ("127.0.0.1", &[], &["127.0.0.1"], "127.0.0.1"),
            // What stands further left was said by the client itself.
            ("127.0.0.1", &["10.0.0.1, 198.51.100.7"], &["127.0.0.1"], "198.51.100.7"),
            ("127.0.0.1", &["127.0.0.1, 198.51.100.7"], &["127.0.0.1"], "198.51.100.7"),
            ("127.0.0.1", &["10.0.0.1", "198.51.100.7"], &["127.0.0.1"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7, 10.0.0.2"], &["127.0.0.1", "10.0.0.2"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7, nonsense"], &["127.0.0.1"], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7:4711"], &["127.0.0.1"], "198.51.100.7"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], &["127.0.0.1"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], &["127.0.0.1"], "2001:db8::1"),
            ("127.0.0.1", &["::ffff:198.51.100.7"], &["127.0.0.1"], "198.51.100.7"),
        ] {
            let trusted: Vec<IpAddr> = trusted.iter().map(|text| ip(text)).collect();
            let forwarded: Vec<String> = forwarded.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(client(ip(peer), &forwarded, &trusted), ip(expected), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_limit_is_an_addresss_own_and_says_when_it_ends() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::new(NonZeroU32::new(3).unwrap(), NonZeroU32::MIN, clock.clone());
        let wrong = |text: &str| limits.count(&limits.guesses, network(text.parse().unwrap()), "too many");
        for _ in 0..3 {
            wrong("2001:db8::1").unwrap();
        }
        // The same network; then another one.
        let problem = wrong("2001:db8::2").unwrap_err();
        assert_eq!((problem.code, problem.retry_after), (Code::RateLimited, Some(21)));
        wrong("192.0.2.1").unwrap();
        // Each twenty seconds give one back.
        clock.advance(Duration::from_millis(19_999));
        assert_eq!(wrong("2001:db8::1").unwrap_err().retry_after, Some(1));
        clock.advance(Duration::from_millis(1));
        wrong("2001:db8::1").unwrap();
        wrong("2001:db8::1").unwrap_err();
        clock.advance(Duration::from_secs(60));
        for _ in 0..3 {
            wrong("2001:db8::1").unwrap();
        }
        wrong("2001:db8::1").unwrap_err();
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory() {
        let limits = Limits::new(NonZeroU32::new(3).unwrap(), NonZeroU32::MIN, FakeRelativeClock::default());
        for number in 0..50_000_u32 {
            let _ = limits.count(&limits.guesses, IpAddr::from(number.to_be_bytes()), "too many");
        }
        assert!(limits.guesses.len() as u64 <= BUCKETS);
    }
}
