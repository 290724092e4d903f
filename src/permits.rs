//! Permits for what anybody may take before it is known whose it is: bounded all together, and by address, so that no one
//! address takes what is everybody's.

mod shares;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use shares::{Share, Shares};

/// Whose a permit is. Whoever has one IPv6 address has the 2^64 beside it.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// The permits of one kind. A clone is another handle on the same ones.
#[derive(Debug, Clone)]
pub struct Permits {
    all: Arc<Semaphore>,
    each: usize,
    // As many as permits are taken.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A permit, taken until it is dropped.
#[derive(Debug)]
pub struct Permit {
    _all: OwnedSemaphorePermit,
    _own: Option<Own>,
}

/// One of the permits that one address may have.
#[derive(Debug)]
struct Own {
    network: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitReached {
    /// All are taken.
    All,
    /// This address has all that one may have.
    Address,
}

impl Permits {
    /// `all` permits, `each` of which one address may have.
    #[must_use]
    pub fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, taken: Arc::default() }
    }

    /// Waits for a permit that is nobody's yet.
    pub async fn next(&self) -> Option<Permit> {
        // Never closed.
        let all = self.all.clone().acquire_owned().await.ok()?;
        Some(Permit { _all: all, _own: None })
    }

    /// A permit for `address`. None is whoever is not counted by address, such as a proxy.
    pub fn take(&self, address: Option<IpAddr>) -> Result<Permit, LimitReached> {
        let all = self.all.clone().try_acquire_owned().map_err(|_| LimitReached::All)?;
        self.give(Permit { _all: all, _own: None }, address)
    }

    /// The same with a permit that was waited for.
    pub fn give(&self, permit: Permit, address: Option<IpAddr>) -> Result<Permit, LimitReached> {
        let Some(network) = address.map(network) else { return Ok(permit) };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.entry(network).or_default();
        if *own >= self.each {
            return Err(LimitReached::Address);
        }
        *own += 1;
        Ok(Permit { _own: Some(Own { network, taken: self.taken.clone() }), ..permit })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.network) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

/// A permit that is given back as soon as it is known whose it is, by whichever clone.
#[derive(Debug, Clone, Default)]
pub struct SharedPermit {
    permit: Arc<Mutex<Option<Permit>>>,
}

impl SharedPermit {
    /// Holds `permit` until it is left, or the last clone goes.
    #[must_use]
    pub fn new(permit: Option<Permit>) -> Self {
        Self { permit: Arc::new(Mutex::new(permit)) }
    }

    /// Gives the permit back.
    pub fn leave(&self) {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_its_own_share_and_no_more() {
        let permits = Permits::new(3, 2);
        let take = |text: &str| permits.take(Some(text.parse().unwrap()));
        let (first, second) = (take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap());
        // The same network; then another one.
        assert_eq!(take("2001:db8::3").unwrap_err(), LimitReached::Address);
        let other = take("192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.2").unwrap_err(), LimitReached::All);
        assert_eq!(permits.take(None).unwrap_err(), LimitReached::All);
        drop(first);
        let _proxy = permits.take(None).unwrap();
        drop((second, other));
        assert!(permits.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn a_permit_is_left_once_for_all_its_clones() {
        let permits = Permits::new(1, 1);
        let shared = SharedPermit::new(permits.take(None).ok());
        let other = shared.clone();
        other.leave();
        let again = SharedPermit::new(Some(permits.take(None).unwrap()));
        shared.leave();
        assert_eq!(permits.take(None).unwrap_err(), LimitReached::All);
        drop(again);
        permits.take(None).unwrap();
    }
}
