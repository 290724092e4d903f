//! How many may read at once: all together, and each by itself, so that nobody takes the places of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{By, JournalError};

/// How long one waits until another has ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// Places for readers.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// How many of them one may have.
    each: usize,
    own: Mutex<HashMap<By, Weak<Semaphore>>>,
}

/// One of them, until it is dropped. What the agent reads for itself needs none: no client can hold it up.
#[derive(Debug)]
pub(super) struct Place {
    _permits: Option<[OwnedSemaphorePermit; 2]>,
}

impl Places {
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, own: Mutex::default() }
    }

    /// A place for `by`; waits until there is one, though not for ever.
    pub(super) async fn take(&self, by: &By) -> Result<Place, JournalError> {
        if *by == By::Agent {
            return Ok(Place { _permits: None });
        }
        let own = self.own(by);
        let taken = async { Some([own.acquire_owned().await.ok()?, self.all.clone().acquire_owned().await.ok()?]) };
        match timeout(PATIENCE, taken).await {
            Ok(Some(permits)) => Ok(Place { _permits: Some(permits) }),
            _ => Err(JournalError::Busy),
        }
    }

    /// The places of `by` alone; they are forgotten when nobody has or wants one.
    fn own(&self, by: &By) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = own.get(by).and_then(Weak::upgrade) {
            return places;
        }
        own.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.each));
        own.insert(by.clone(), Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Actor;

    #[tokio::test(start_paused = true)]
    async fn one_who_takes_all_it_may_leaves_places_to_others() {
        let places = Places::new(4, 2);
        let [one, other] = ["one", "other"].map(|name| By::Actor(Actor::Token(name.parse().unwrap())));
        let held = [places.take(&one).await.unwrap(), places.take(&one).await.unwrap()];
        assert!(matches!(places.take(&one).await, Err(JournalError::Busy)));
        let others = [places.take(&other).await.unwrap(), places.take(&other).await.unwrap()];
        assert!(matches!(places.take(&By::Anybody).await, Err(JournalError::Busy)), "there are only so many");
        places.take(&By::Agent).await.unwrap();
        drop(held);
        drop((places.take(&one).await.unwrap(), others));
        places.take(&By::Anybody).await.unwrap();
        assert_eq!(places.own.lock().unwrap().len(), 1, "who has none is forgotten");
    }
}
