//! Permits for what is done for somebody who is known: bounded all together and by who it is for, so that nobody takes the
//! permits of all.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long one waits until another has ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// The permits of one kind, by who has them.
#[derive(Debug)]
pub struct Shares<K> {
    all: Arc<Semaphore>,
    /// How many of them one may have.
    each: usize,
    own: Mutex<HashMap<K, Weak<Semaphore>>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Share {
    _permits: [OwnedSemaphorePermit; 2],
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// `all` permits, `each` of which one may have.
    #[must_use]
    pub fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, own: Mutex::default() }
    }

    /// A permit for `by`; waits until there is one, though not for ever. None: there was none.
    pub async fn take(&self, by: &K) -> Option<Share> {
        let own = self.own(by);
        let taken = async { Some([own.acquire_owned().await.ok()?, self.all.clone().acquire_owned().await.ok()?]) };
        timeout(PATIENCE, taken).await.ok().flatten().map(|permits| Share { _permits: permits })
    }

    /// The permits of `by` alone; they are forgotten when nobody has or wants one.
    fn own(&self, by: &K) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(permits) = own.get(by).and_then(Weak::upgrade) {
            return permits;
        }
        own.retain(|_, permits| permits.strong_count() > 0);
        let permits = Arc::new(Semaphore::new(self.each));
        own.insert(by.clone(), Arc::downgrade(&permits));
        permits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_who_takes_all_it_may_leaves_permits_to_others() {
        let shares = Shares::new(4, 2);
        let held = [shares.take(&"one").await.unwrap(), shares.take(&"one").await.unwrap()];
        assert!(shares.take(&"one").await.is_none());
        let others = [shares.take(&"other").await.unwrap(), shares.take(&"other").await.unwrap()];
        assert!(shares.take(&"anybody").await.is_none(), "there are only so many");
        drop(held);
        drop((shares.take(&"one").await.unwrap(), others));
        shares.take(&"anybody").await.unwrap();
        assert_eq!(shares.own.lock().unwrap().len(), 1, "who has none is forgotten");
    }
}
