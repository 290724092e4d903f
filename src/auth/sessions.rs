//! Sessions: what a browser gets for a token, as a cookie.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use super::{Auth, hash, random};
use crate::events::Event;
use crate::names::Actor;
use crate::problem::{Code, Problem};
use crate::store::{Session, StoreError};

/// How long a session lasts.
const SESSION: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Auth {
    /// Signs a browser in; the answer is the cookie's value, when it ends, and whose it is. None: it is no token.
    pub async fn sign_in(
        &self,
        token: &SecretString,
        client: &str,
    ) -> Result<Option<(SecretString, Timestamp, Actor)>, StoreError> {
        let Some(token) = self.token(token.expose_secret()).await? else { return Ok(None) };
        let value = random();
        let latest = Timestamp::now() + SESSION;
        let expires = token.expires.map_or(latest, |ends| ends.min(latest));
        let client = client.chars().filter(|c| !c.is_control()).take(200).collect();
        self.store.create_session(hash(&value), token.id, expires, client).await?;
        Ok(Some((value.into(), expires, Actor::Token(token.name))))
    }

    /// The session of a cookie's value.
    pub(super) async fn session(&self, value: &str) -> Result<Option<Session>, StoreError> {
        if value.len() > 200 {
            return Ok(None);
        }
        self.store.session(hash(value)).await
    }

    /// All sessions, the newest first.
    pub async fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        self.store.sessions().await
    }

    /// Ends a session.
    pub async fn sign_out(&self, id: i64) -> Result<(), Problem> {
        if self.store.remove_session(id).await.map_err(|error| error.problem())? {
            self.events.publish(Event::Credentials);
            Ok(())
        } else {
            Err(Problem::new(Code::NotFound, "there is no session of this number"))
        }
    }
}
