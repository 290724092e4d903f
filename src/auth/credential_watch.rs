//! Who stays longer than a request: whether what somebody showed is still good is asked in one place, for every stream
//! of REST and of Socket.IO alike.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Auth, Identity};
use crate::events::Event;
use crate::names::{Scope, ServiceName};
use crate::problem::{Code, Problem, chain};

/// How often it is looked at who stays where nothing rings.
const LOOK: Duration = Duration::from_secs(60);

/// Everybody who stays.
#[derive(Debug, Default)]
pub(super) struct CredentialWatches {
    all: Mutex<All>,
    came: Notify,
}

#[derive(Debug, Default)]
struct All {
    next: u64,
    validities: HashMap<u64, watch::Sender<Validity>>,
    /// Who came and was not looked at yet.
    new: Vec<Identity>,
}

/// How somebody stands.
#[derive(Debug, Clone)]
struct Validity {
    identity: Identity,
    ended: bool,
}

/// Somebody who stays, and learns when what it showed has ended and when it may do something else.
#[derive(Debug)]
pub struct CredentialWatch {
    id: u64,
    validity: watch::Receiver<Validity>,
    staying: Arc<CredentialWatches>,
}

impl CredentialWatches {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the first credential ends by itself.
    fn first_end(&self) -> Option<Timestamp> {
        self.all().validities.values().filter_map(|validity| validity.borrow().identity.ends).min()
    }

    /// Who came, each identity once. What it showed may have ended while it was let in.
    fn newcomers(&self) -> Vec<Identity> {
        std::mem::take(&mut self.all().new)
    }

    /// Who stays, each identity once.
    fn identities(&self) -> Vec<Identity> {
        let mut all = self.all();
        all.new.clear();
        let mut identities: Vec<Identity> = Vec::new();
        for validity in all.validities.values() {
            let validity = validity.borrow();
            if !identities.contains(&validity.identity) {
                identities.push(validity.identity.clone());
            }
        }
        identities
    }

    /// Tells all who stay as `before` how they stand now. Whose credential has ended is not asked about again.
    fn tell(&self, before: &Identity, still: Option<&Identity>) {
        self.all().validities.retain(|_, validity| {
            if validity.borrow().identity == *before {
                validity.send_if_modified(|validity| match still {
                    Some(identity) => std::mem::replace(&mut validity.identity, identity.clone()) != *identity,
                    None => {
                        validity.ended = true;
                        true
                    }
                });
            }
            !validity.borrow().ended
        });
    }
}

impl Drop for CredentialWatch {
    fn drop(&mut self) {
        self.staying.all().validities.remove(&self.id);
    }
}

impl CredentialWatch {
    /// Who it is, as of now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.validity.borrow().identity.clone()
    }

    /// Whether it may do what takes `scope`, to `service` or, with none, to the whole host. Once its credential has
    /// ended it may do nothing.
    pub fn allows(&self, scope: Scope, service: Option<&ServiceName>) -> Result<(), Problem> {
        self.validity.borrow().allows(scope, service)
    }

    /// Waits until what it showed has ended.
    pub async fn ended(&self) {
        // Nobody is forgotten who was not told before.
        let _ = self.validity.clone().wait_for(|validity| validity.ended).await;
    }

    /// Waits until it may not do that any more, and gives why.
    pub async fn refused(&self, scope: Scope, service: Option<&ServiceName>) -> Problem {
        let mut validity = self.validity.clone();
        loop {
            if let Err(problem) = validity.borrow_and_update().allows(scope, service) {
                return problem;
            }
            if validity.changed().await.is_err() {
                return ended();
            }
        }
    }
}

/// For how long an answer that goes on may go on, whatever carries it: until the agent stops, and for as long as who reads it
/// may.
#[derive(Debug, Default)]
pub struct Lease {
    stopping: Option<(CancellationToken, &'static str)>,
    right: Option<(Arc<CredentialWatch>, Scope, Option<ServiceName>)>,
}

impl Lease {
    /// Until the agent stops, too; what is said then.
    #[must_use]
    pub fn until(self, stopping: CancellationToken, detail: &'static str) -> Self {
        Self { stopping: Some((stopping, detail)), ..self }
    }

    /// Also while the agent stops: what has begun is brought to its end.
    #[must_use]
    pub fn while_stopping(self) -> Self {
        Self { stopping: None, ..self }
    }

    /// For as long as `stay` may do what takes `scope`, to `service` or, with none, to the whole host.
    #[must_use]
    pub fn of(self, stay: Arc<CredentialWatch>, scope: Scope, service: Option<ServiceName>) -> Self {
        Self { right: Some((stay, scope, service)), ..self }
    }

    /// Does `work` for as long as it may go on; else why it may not. Whoever may not any more gets nothing more, also where
    /// there is something.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Problem> {
        let stopped = async {
            match &self.stopping {
                Some((stopping, detail)) => {
                    stopping.cancelled().await;
                    Problem::new(Code::Restarting, *detail)
                }
                None => pending().await,
            }
        };
        let refused = async {
            match &self.right {
                Some((stay, scope, service)) => stay.refused(*scope, service.as_ref()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            problem = stopped => Err(problem),
            problem = refused => Err(problem),
            done = work => Ok(done),
        }
    }
}

impl Validity {
    fn allows(&self, scope: Scope, service: Option<&ServiceName>) -> Result<(), Problem> {
        if self.ended { Err(ended()) } else { self.identity.allows(scope, service) }
    }
}

fn ended() -> Problem {
    Problem::new(Code::NotSignedIn, "the session or token has ended that this was opened with")
        .with_hint("sign in again")
}

impl Auth {
    /// Keeps an eye on somebody who stays, for as long as the answer lives.
    #[must_use]
    pub fn stay(&self, identity: Identity) -> CredentialWatch {
        let (sender, validity) = watch::channel(Validity { identity: identity.clone(), ended: false });
        let id = {
            let mut all = self.staying.all();
            all.next += 1;
            let id = all.next;
            all.validities.insert(id, sender);
            if !all.new.contains(&identity) {
                all.new.push(identity);
            }
            id
        };
        self.staying.came.notify_one();
        CredentialWatch { id, validity, staying: self.staying.clone() }
    }

    /// Tells everybody who stays how they stand, as soon as that changes; for ever.
    pub async fn guard(&self) {
        let mut events = self.events.subscribe();
        let mut regular = interval(LOOK);
        loop {
            let identities = tokio::select! {
                event = events.recv() => match event {
                    // A lost event may have been one of those.
                    Ok(Event::Credentials) | Err(RecvError::Lagged(_)) => self.staying.identities(),
                    Ok(_) => continue,
                    Err(RecvError::Closed) => return,
                },
                () = self.staying.came.notified() => self.staying.newcomers(),
                () = until(self.staying.first_end()) => self.staying.identities(),
                // A session ends that is not used, too, and goes where there are too many.
                _ = regular.tick() => self.staying.identities(),
            };
            self.look_at(identities).await;
        }
    }

    async fn look_at(&self, identities: Vec<Identity>) {
        for identity in identities {
            // A store that doesn't answer lets nobody stay.
            let still = self.still(&identity).await.unwrap_or_else(|error| {
                tracing::error!("can't look a credential up: {}", chain(&error));
                None
            });
            let still = still.filter(|identity| identity.ends.is_none_or(|ends| ends > Timestamp::now()));
            if still.is_none() {
                tracing::info!(actor = %identity.actor, "its streams end: its session or token has ended");
            }
            self.staying.tell(&identity, still.as_ref());
        }
    }
}

async fn until(moment: Option<Timestamp>) {
    match moment {
        None => std::future::pending().await,
        Some(moment) => {
            let left = Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or_default();
            sleep(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::auth::Accepts;
    use crate::auth::tests::{auth_at, presented};
    use crate::store::Grant;

    #[tokio::test]
    async fn who_stays_is_told_when_its_credential_ends_and_nobody_else_is() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        let mut stays = Vec::new();
        for name in ["stays", "goes"] {
            let token = auth
                .create_token(name.parse().unwrap(), Grant { scope: Scope::Read, service: None }, None)
                .await
                .unwrap();
            let shown = presented(Some(format!("Bearer {}", token.expose_secret())), None);
            let identity = auth.identify(&shown, Accepts::Web).await.unwrap().unwrap();
            stays.push(auth.stay(identity));
        }
        let guard = tokio::spawn({
            let auth = auth.clone();
            async move { auth.guard().await }
        });
        auth.remove_token(&"goes".parse().unwrap()).await.unwrap();
        stays[1].ended().await;
        assert_eq!(stays[1].refused(Scope::Read, None).await.code, Code::NotSignedIn);
        assert!(stays[1].allows(Scope::Read, None).is_err());
        assert!(stays[0].allows(Scope::Read, None).is_ok());
        let late = auth.stay(stays[1].identity());
        late.ended().await;
        // Something is there, and nobody gets it any more.
        let lease = |stay: CredentialWatch| Lease::default().of(Arc::new(stay), Scope::Read, None);
        assert_eq!(lease(late).hold(ready(1)).await.unwrap_err().code, Code::NotSignedIn);
        let (lease, stopping) = (lease(stays.swap_remove(0)), CancellationToken::new());
        assert_eq!(lease.hold(ready(1)).await.unwrap(), 1);
        let lease = lease.until(stopping.clone(), "the agent is stopping");
        assert_eq!(lease.hold(ready(1)).await.unwrap(), 1);
        stopping.cancel();
        assert_eq!(lease.hold(ready(1)).await.unwrap_err().code, Code::Restarting);
        assert_eq!(lease.while_stopping().hold(ready(1)).await.unwrap(), 1);
        drop(stays);
        assert!(auth.staying.all().validities.is_empty());
        guard.abort();
    }
}
