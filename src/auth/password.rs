//! The git password: what a person types where git asks for one. Argon2id, and never the same work twice: what was looked
//! at is known again by a keyed hash that lies in memory alone. So the right one, once it was set or shown in this run of
//! the agent, is taken at once, whatever others try, and one that is wrong and comes again is no new guess.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::OnceCell;

use super::gate::{Gate, Turn};
use super::identity::{Credential, Identity, failed};
use super::{Auth, Presented};
use crate::events::Event;
use crate::names::{Actor, Scope};
use crate::problem::{Code, Problem, chain};
use crate::store::{GitPassword, Grant, SecretHash};

/// The fewest characters of a password, and the most bytes.
const LENGTH: (usize, usize) = (12, 1024);
/// How many guesses a password must outlast. The limits let fewer than a hundred thousand through in a day.
const GUESSES: u64 = 100_000_000;
/// What a guesser of this host tries first.
const OWN_WORDS: [&str; 3] = ["podkeeper", "podman", "git"];

/// How many passwords are known again that were looked at last, and how many networks that showed the right one.
const KNOWN_AGAIN: usize = 64;

/// A password as it is remembered: under a key of this run, with the time at which the one that counts was set.
type Mark = SecretHash;

/// What is remembered beside the store.
#[derive(Debug)]
pub(super) struct Passwords {
    gate: Arc<Gate>,
    key: SecretHash,
    /// The one that is right.
    good: Mutex<Option<Mark>>,
    /// Those that were looked at last or are being looked at, and whether each is right.
    looks: Mutex<VecDeque<(Mark, Look)>>,
    /// The networks that the store was told of in this run.
    told: Mutex<VecDeque<(IpAddr, Timestamp)>>,
}

/// Whether a password is right; who comes while it is looked at waits for that.
type Look = Arc<OnceCell<bool>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            gate: Arc::new(Gate::new()),
            key: rand::random(),
            good: Mutex::default(),
            looks: Mutex::default(),
            told: Mutex::default(),
        }
    }

    fn mark(&self, password: &str, changed: Timestamp) -> Mark {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return rand::random() };
        mac.update(&changed.as_microsecond().to_be_bytes());
        mac.update(password.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn is_good(&self, mark: &Mark) -> bool {
        lock(&self.good).is_some_and(|good| bool::from(good.ct_eq(mark)))
    }

    fn remember(&self, mark: Mark) {
        *lock(&self.good) = Some(mark);
    }

    fn look(&self, mark: &Mark) -> Look {
        let mut looks = lock(&self.looks);
        // The key is secret, so the time that this takes tells nothing of another's password.
        if let Some((_, look)) = looks.iter().find(|(known, _)| known == mark) {
            return look.clone();
        }
        let look = Look::default();
        if looks.len() == KNOWN_AGAIN {
            looks.pop_front();
        }
        looks.push_back((*mark, look.clone()));
        look
    }

    /// Whether the store must be told that the right password came from this network.
    fn is_new(&self, network: IpAddr, changed: Timestamp) -> bool {
        let mut told = lock(&self.told);
        if told.contains(&(network, changed)) {
            return false;
        }
        if told.len() == KNOWN_AGAIN {
            told.pop_front();
        }
        told.push_back((network, changed));
        true
    }
}

fn weak(detail: impl Into<crate::text::Plain>) -> Problem {
    Problem::new(Code::WeakPassword, detail)
        .with_hint("four or five words that have nothing to do with each other are a good one")
}

/// zxcvbn knows the commonest passwords, names and words, keyboard walks, dates and repetitions, and what people do to
/// hide them.
fn check(password: &str) -> Result<(), Problem> {
    let (least, most) = LENGTH;
    if password.chars().count() < least || password.len() > most {
        return Err(weak(format!("the password takes {least} characters or more, and at most {most} bytes")));
    }
    if password.starts_with(super::tokens::PREFIX) {
        return Err(weak("a password can't begin as a token does"));
    }
    if password.chars().any(char::is_control) {
        return Err(weak("the password holds a control character"));
    }
    if zxcvbn::zxcvbn(password, &OWN_WORDS).guesses() < GUESSES {
        return Err(weak("this password is among the first that are tried"));
    }
    Ok(())
}

impl Auth {
    /// Sets the git password.
    pub async fn set_password(&self, password: SecretString) -> Result<(), Problem> {
        let typed = password.clone();
        let turn = self.passwords.gate.own_turn().await.ok_or_else(|| broken(&"no turn"))?;
        let phc = hashing(turn, move || {
            let password = password.expose_secret();
            check(password)?;
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| broken(&error))
        })
        .await??;
        let changed = self.store.set_git_password(phc).await.map_err(failed)?;
        self.passwords.remember(self.passwords.mark(typed.expose_secret(), changed));
        self.events.publish(Event::Credentials);
        tracing::info!("git password set");
        Ok(())
    }

    /// When the git password was set last, where there is one.
    pub async fn password_changed(&self) -> Result<Option<Timestamp>, Problem> {
        let stored = self.store.git_password().await.map_err(failed)?;
        Ok(stored.map(|stored| stored.changed))
    }

    /// Who has this git password. Where none is set the way to one is told.
    pub(super) async fn by_password(
        &self,
        presented: &Presented,
        password: SecretString,
    ) -> Result<Option<Identity>, Problem> {
        let Some(stored) = self.store.git_password().await.map_err(failed)? else {
            // Nothing that is kept of it is good, and git's helpers forget what was refused so.
            return Err(Problem::new(Code::NotSignedIn, "this is no token, and no git password is set").with_hint(
                "give a token as the password: `podkeeper token create --name NAME` on the host makes one; or set a git \
                 password with POST /credentials/update",
            ));
        };
        let identity = Identity::of_password(&stored);
        let mark = self.passwords.mark(password.expose_secret(), stored.changed);
        let good = self.passwords.is_good(&mark) || {
            let look = self.passwords.look(&mark);
            *look.get_or_try_init(|| self.looked_at(presented, password, &stored, mark)).await?
        };
        if good {
            self.came_from(presented, stored.changed).await;
        }
        Ok(good.then_some(identity))
    }

    /// Whether a password that is not known again is the right one.
    async fn looked_at(
        &self,
        presented: &Presented,
        password: SecretString,
        stored: &GitPassword,
        mark: Mark,
    ) -> Result<bool, Problem> {
        let place = self.attempt(presented, stored).await?;
        let turn = self.passwords.gate.turn(place).await?;
        let (passwords, phc) = (self.passwords.clone(), stored.phc.clone());
        hashing(turn, move || {
            let hash = PasswordHash::new(&phc).map_err(|error| broken(&error))?;
            let password = password.expose_secret();
            let long = password.len() > LENGTH.1;
            let good = !long && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
            if good {
                passwords.remember(mark);
            } else {
                passwords.gate.was_wrong(place);
            }
            Ok(good)
        })
        .await?
    }

    /// The right password came from there, which the next run of the agent will know.
    async fn came_from(&self, presented: &Presented, changed: Timestamp) {
        let Some(network) = self.network(presented) else { return };
        if self.passwords.is_new(network, changed)
            && let Err(error) = self.store.git_password_came_from(network, changed).await
        {
            tracing::warn!("the git password's network can't be kept: {}", chain(&error));
        }
    }

    /// Whether the git password is still the one that was set at this time.
    pub(super) async fn password_of(&self, changed: Timestamp) -> Result<Option<Identity>, Problem> {
        let stored = self.store.git_password().await.map_err(failed)?;
        Ok(stored.filter(|stored| stored.changed == changed).map(|stored| Identity::of_password(&stored)))
    }
}

/// Runs what takes a core and some memory, beside the runtime. The turn ends with the work, not with who waits for it.
async fn hashing<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let held = move || {
        let done = work();
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(held).await.map_err(|error| broken(&error))
}

impl Identity {
    fn of_password(stored: &GitPassword) -> Self {
        Self {
            actor: Actor::GitPassword,
            grant: Grant { scope: Scope::Deploy, service: None },
            credential: Credential::GitPassword(stored.changed),
            ends: None,
        }
    }
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!("can't look at a password: {error}");
    Problem::new(Code::Internal, "the password can't be looked at")
}

#[cfg(test)]
mod tests {
    use super::super::gate::AttemptSource;
    use super::super::tests::{auth_at, basic};
    use super::super::{Accepts, Peer};
    use super::*;

    #[test]
    fn short_and_common_passwords_are_refused() {
        for weak in [
            "",
            "elevenchars",
            "password1234",
            "qwertyuiop12",
            "passwordpassword",
            "1q2w3e4r5t6y",
            "podkeeper1234",
            "aaaaaaaaaaaaaaaa",
            "123456789012",
            "pk_cahrnzhtiqpa",
            "twelve chars\n and more",
        ] {
            assert_eq!(check(weak).unwrap_err().code, Code::WeakPassword, "{weak}");
        }
        for good in ["correct wagon staple lantern", "nöt-ä-cömmon-wörd", "Tq8!rZp2#wLm"] {
            assert!(check(good).is_ok(), "{good}");
        }
        assert!(check(&"x7Kq".repeat(300)).is_err());
    }

    #[tokio::test]
    async fn the_git_password_opens_git_until_another_is_set() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        let first = "correct wagon staple lantern";
        let refused = auth.identify(&basic(first), Accepts::Git).await.unwrap_err();
        assert_eq!((refused.code, refused.hint.is_some()), (Code::NotSignedIn, true));
        assert_eq!(auth.identify(&basic("pk_none"), Accepts::Git).await.unwrap(), None);

        auth.set_password(first.into()).await.unwrap();
        let identity = auth.identify(&basic(first), Accepts::Git).await.unwrap().unwrap();
        assert_eq!((&identity.actor, identity.grant.scope), (&Actor::GitPassword, Scope::Deploy));
        assert_eq!(auth.identify(&basic("correct wagon staple lanterns"), Accepts::Git).await.unwrap(), None);
        assert_eq!(auth.identify(&basic(first), Accepts::Web).await.unwrap(), None);
        assert_eq!(auth.still(&identity).await.unwrap().as_ref(), Some(&identity));

        auth.set_password("lantern staple wagon correct".into()).await.unwrap();
        assert_eq!(auth.identify(&basic(first), Accepts::Git).await.unwrap(), None);
        assert_eq!(auth.still(&identity).await.unwrap(), None);
        let stored = auth.store.git_password().await.unwrap().unwrap().phc;
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    }

    fn from(address: u32, password: &str) -> Presented {
        Presented { peer: Peer::Network(address.to_be_bytes().into()), ..basic(password) }
    }

    /// The same host after a start of the agent, which remembers nothing.
    fn again(auth: &Auth) -> Auth {
        Auth::new(auth.store.clone(), auth.events.clone(), auth.config.clone())
    }

    const PASSWORD: &str = "correct wagon staple lantern";

    #[tokio::test]
    async fn an_addresss_guesses_end_before_they_are_looked_at_and_the_owner_goes_on() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        auth.set_password(PASSWORD.into()).await.unwrap();
        // A busy machine takes its time for a look, and is given others meanwhile: they are taken away.
        let mut guesses = 0;
        let problem = loop {
            let wrong = basic(&format!("a wrong guess {guesses}"));
            match auth.identify(&wrong, Accepts::Git).await {
                Ok(found) => assert_eq!(found, None),
                Err(problem) => break problem,
            }
            guesses += 1;
            while auth.wrong_key(&wrong).is_ok() {}
        };
        assert!(problem.code == Code::RateLimited && problem.retry_after.is_some(), "{problem:?}");
        // It was set in this run, so that it needs no look even at the address of those who guess.
        assert!(auth.identify(&basic(PASSWORD), Accepts::Git).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_right_one_is_not_refused_for_wrong_ones_from_elsewhere() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        auth.set_password(PASSWORD.into()).await.unwrap();
        let auth = again(&auth);
        for address in 1..=30 {
            let wrong = from(address << 16, &format!("a wrong guess {address}"));
            assert_eq!(auth.identify(&wrong, Accepts::Git).await.unwrap(), None);
        }
        while auth.wrong_key(&from(1, "")).is_ok() {}
        assert!(auth.identify(&from(99 << 16, PASSWORD), Accepts::Git).await.unwrap().is_some());
        assert!(auth.identify(&from(1, PASSWORD), Accepts::Git).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn where_the_right_one_was_shown_is_known_after_a_start() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        auth.set_password(PASSWORD.into()).await.unwrap();
        let (owner, stranger) = (from(1, PASSWORD), from(2, "a wrong guess"));
        auth.identify(&owner, Accepts::Git).await.unwrap().unwrap();
        auth.identify(&stranger, Accepts::Git).await.unwrap();
        let auth = again(&auth);
        let stored = auth.store.git_password().await.unwrap().unwrap();
        assert!(matches!(auth.attempt(&owner, &stored).await.unwrap(), AttemptSource::Known(_)));
        assert!(matches!(auth.attempt(&stranger, &stored).await.unwrap(), AttemptSource::Stranger(_)));
    }

    #[tokio::test]
    async fn a_wrong_one_that_comes_again_is_no_new_guess() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        auth.set_password(PASSWORD.into()).await.unwrap();
        let auth = again(&auth);
        for _ in 0..1000 {
            assert_eq!(auth.identify(&basic("an old password"), Accepts::Git).await.unwrap(), None);
        }
        assert!(auth.identify(&basic(PASSWORD), Accepts::Git).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn as_many_right_ones_at_once_as_there_may_be_are_one_look() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        auth.set_password(PASSWORD.into()).await.unwrap();
        let auth = again(&auth);
        let right = basic(PASSWORD);
        let all = (0..200).map(|_| auth.identify(&right, Accepts::Git));
        for found in futures_util::future::join_all(all).await {
            assert!(found.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn a_look_whose_client_has_left_is_still_the_only_one() {
        let gate = Arc::new(Gate::new());
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let look = hashing(gate.own_turn().await.unwrap(), move || {
            begun.send(()).unwrap();
            wait.recv()
        });
        let look = tokio::spawn(look);
        begins.await.unwrap();
        look.abort();
        assert!(look.await.unwrap_err().is_cancelled());
        let mut next = Box::pin(gate.own_turn());
        assert!(futures_util::poll!(&mut next).is_pending());
        go_on.send(()).unwrap();
        assert!(next.await.is_some());
    }
}
