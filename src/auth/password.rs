//! The git password: what a person types where git asks for one. Argon2id, and never the same work twice for a password
//! that was good a moment ago.

use std::sync::{Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::identity::{Credential, Identity, failed};
use super::{Auth, Presented};
use crate::events::Event;
use crate::names::{Actor, Scope};
use crate::problem::{Code, Problem};
use crate::store::{GitPassword, Grant, SecretHash};

/// The fewest characters of a password, and the most bytes.
const LENGTH: (usize, usize) = (12, 1024);
/// How many guesses a password must outlast. The limits let fewer than a hundred thousand through in a day.
const GUESSES: u64 = 100_000_000;
/// What a guesser of this host tries first.
const OWN_WORDS: [&str; 3] = ["podkeeper", "podman", "git"];

/// What is remembered beside the store.
#[derive(Debug)]
pub(super) struct Passwords {
    /// One hash at a time: each takes 19 MiB and a core.
    turn: Semaphore,
    /// The password that was good last, as a hash under a key of this run, and when it was set.
    good: Mutex<Option<(SecretHash, Timestamp)>>,
    key: SecretHash,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self { turn: Semaphore::new(1), good: Mutex::new(None), key: rand::random() }
    }

    fn remembered(&self, password: &str) -> SecretHash {
        Sha256::new().chain_update(self.key).chain_update(password.as_bytes()).finalize().into()
    }

    fn was_good(&self, password: &str, stored: &GitPassword) -> bool {
        match *self.good.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((hash, changed)) => changed == stored.changed && bool::from(hash.ct_eq(&self.remembered(password))),
            None => false,
        }
    }

    fn remember(&self, password: &str, stored: &GitPassword) {
        let entry = Some((self.remembered(password), stored.changed));
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }
}

fn weak(detail: impl Into<String>) -> Problem {
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
        let phc = self
            .hashing(move || {
                let password = password.expose_secret();
                check(password)?;
                let hash = Argon2::default().hash_password(password.as_bytes());
                hash.map(|hash| hash.to_string()).map_err(|error| broken(&error))
            })
            .await??;
        self.store.set_git_password(phc).await.map_err(failed)?;
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
            return Err(Problem::new(Code::Forbidden, "this is no token, and no git password is set").with_hint(
                "set one in the dashboard or with POST /credentials/update, or give a token as the password",
            ));
        };
        let identity = Identity::of_password(&stored);
        if self.passwords.was_good(password.expose_secret(), &stored) {
            return Ok(Some(identity));
        }
        self.attempt(presented, "git password")?;
        let passwords = self.passwords.clone();
        let good = self
            .hashing(move || {
                let hash = PasswordHash::new(&stored.phc).map_err(|error| broken(&error))?;
                let password = password.expose_secret();
                let long = password.len() > LENGTH.1;
                let good = !long && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
                if good {
                    passwords.remember(password, &stored);
                }
                Ok::<_, Problem>(good)
            })
            .await??;
        Ok(good.then_some(identity))
    }

    /// Whether the git password is still the one that was set at this time.
    pub(super) async fn password_of(&self, changed: Timestamp) -> Result<Option<Identity>, Problem> {
        let stored = self.store.git_password().await.map_err(failed)?;
        Ok(stored.filter(|stored| stored.changed == changed).map(|stored| Identity::of_password(&stored)))
    }

    /// Runs what takes a core and some memory: beside the runtime, one at a time.
    async fn hashing<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let _turn = self.passwords.turn.acquire().await.map_err(|error| broken(&error))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| broken(&error))
    }
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
    use super::super::Way;
    use super::super::tests::{auth_at, basic};
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
        let refused = auth.identify(&basic(first), Way::Git).await.unwrap_err();
        assert_eq!((refused.code, refused.hint.is_some()), (Code::Forbidden, true));
        assert_eq!(auth.identify(&basic("pk_none"), Way::Git).await.unwrap(), None);

        auth.set_password(first.into()).await.unwrap();
        let identity = auth.identify(&basic(first), Way::Git).await.unwrap().unwrap();
        assert_eq!((&identity.actor, identity.grant.scope), (&Actor::GitPassword, Scope::Deploy));
        assert_eq!(auth.identify(&basic("correct wagon staple lanterns"), Way::Git).await.unwrap(), None);
        assert_eq!(auth.identify(&basic(first), Way::Web).await.unwrap(), None);
        assert_eq!(auth.still(&identity).await.unwrap().as_ref(), Some(&identity));

        auth.set_password("lantern staple wagon correct".into()).await.unwrap();
        assert_eq!(auth.identify(&basic(first), Way::Git).await.unwrap(), None);
        assert_eq!(auth.still(&identity).await.unwrap(), None);
        let stored = auth.store.git_password().await.unwrap().unwrap().phc;
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    }

    #[tokio::test]
    async fn guesses_end_before_they_are_looked_at_and_the_owner_goes_on() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        let password = "correct wagon staple lantern";
        auth.set_password(password.into()).await.unwrap();
        assert!(auth.identify(&basic(password), Way::Git).await.unwrap().is_some());
        // One is looked at. A busy machine takes its time for that, and is given others meanwhile: they are taken away.
        let wrong = basic("a wrong guess");
        assert_eq!(auth.identify(&wrong, Way::Git).await.unwrap(), None);
        let problem = loop {
            while auth.wrong_key(&wrong).is_ok() {}
            match auth.identify(&wrong, Way::Git).await {
                Ok(found) => assert_eq!(found, None),
                Err(problem) => break problem,
            }
        };
        assert!(problem.code == Code::RateLimited && problem.retry_after.is_some(), "{problem:?}");
        assert!(auth.identify(&basic(password), Way::Git).await.unwrap().is_some());
    }
}
