//! Sessions: what a browser gets for a token or a passkey, as a cookie.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Auth, Presented, Site, hash, random};
use crate::events::Event;
use crate::names::{Actor, Excerpt, SignInId};
use crate::problem::{Code, Problem, chain};
use crate::store::{NewSession, Passkey, Session, SignedBy, StoreError};

/// A browser that has just been signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The cookie's value.
    pub value: SecretString,
    /// When the session ends.
    pub expires: Timestamp,
    /// With what.
    pub actor: Actor,
}

fn told(error: StoreError) -> Problem {
    tracing::error!("sessions: {}", chain(&error));
    error.problem()
}

impl Auth {
    /// Signs a browser in with a token. None: it is no token.
    pub async fn sign_in(
        &self,
        token: &SecretString,
        presented: &Presented,
        client: &str,
    ) -> Result<Option<SignedIn>, Problem> {
        let Some(token) = self.token(token.expose_secret()).await.map_err(told)? else { return Ok(None) };
        let actor = Actor::Token(token.name);
        self.begin_session(SignedBy::Token(token.id), actor, token.expires, presented, client).await.map(Some)
    }

    /// Signs a browser in with a passkey's answer.
    pub async fn sign_in_with_passkey(
        &self,
        site: &Site,
        key: Value,
        presented: &Presented,
        client: &str,
    ) -> Result<SignedIn, Problem> {
        let passkey = self.guessed(presented, self.finish_login(site, key).await)?;
        self.sign_in_as(passkey, presented, client).await
    }

    /// Signs a browser in whose passkey was verified just now.
    pub async fn sign_in_as(&self, passkey: Passkey, presented: &Presented, client: &str) -> Result<SignedIn, Problem> {
        let actor = Actor::Passkey(passkey.name);
        self.begin_session(SignedBy::Passkey(passkey.id), actor, None, presented, client).await
    }

    async fn begin_session(
        &self,
        by: SignedBy,
        actor: Actor,
        ends: Option<Timestamp>,
        presented: &Presented,
        client: &str,
    ) -> Result<SignedIn, Problem> {
        self.site(presented)?.keeps_sessions()?;
        let value = random();
        let latest = Timestamp::now() + self.config.get().auth.session_max;
        let expires = ends.map_or(latest, |ends| ends.min(latest));
        let new = NewSession {
            hash: hash(&value),
            by,
            expires,
            client: Excerpt::of(client),
            address: self.place(presented),
            replaces: self.cookie(presented).map(hash),
        };
        if self.store.create_session(new, self.idle()).await.map_err(told)? {
            self.events.publish(Event::Credentials);
        }
        tracing::info!(actor = %actor, "signed in");
        Ok(SignedIn { value: value.into(), expires, actor })
    }

    /// Where a browser is.
    fn place(&self, presented: &Presented) -> String {
        self.address(presented).map_or_else(|| "this host".to_owned(), |address| address.to_string())
    }

    /// How long a session may be unused, in microseconds.
    fn idle(&self) -> i64 {
        i64::try_from(self.config.get().auth.session_idle.as_micros()).unwrap_or(i64::MAX)
    }

    /// The session of a request's cookie.
    pub(super) async fn session(&self, presented: &Presented) -> Result<Option<Session>, StoreError> {
        match self.cookie(presented) {
            Some(value) if value.len() <= 200 => {
                self.store.session(hash(value), self.idle(), self.place(presented)).await
            }
            _ => Ok(None),
        }
    }

    /// The session of this row.
    pub(super) async fn session_by_id(&self, id: SignInId) -> Result<Option<Session>, StoreError> {
        self.store.session_by_id(id, self.idle()).await
    }

    /// The cookie's value. The cookie that a page without TLS could set counts only where we are seen without TLS.
    fn cookie<'a>(&self, presented: &'a Presented) -> Option<&'a str> {
        let plain = self.site(presented).is_ok_and(|site| !site.secure() && site.keeps_sessions().is_ok());
        let secure = presented.secure_cookie.as_deref();
        secure.or_else(|| presented.cookie.as_deref().filter(|_| plain))
    }

    /// All sessions, the newest first.
    pub async fn sessions(&self) -> Result<Vec<Session>, Problem> {
        self.store.sessions(self.idle()).await.map_err(told)
    }

    /// Ends the session that a request comes with, and tells whose it was.
    pub async fn leave(&self, presented: &Presented) -> Result<Option<Actor>, Problem> {
        let Some(session) = self.session(presented).await.map_err(told)? else { return Ok(None) };
        if self.store.remove_session(session.id).await.map_err(told)? {
            self.events.publish(Event::Credentials);
        }
        Ok(Some(session.actor))
    }

    /// Ends a session.
    pub async fn sign_out(&self, id: SignInId) -> Result<(), Problem> {
        if self.store.remove_session(id).await.map_err(told)? {
            self.events.publish(Event::Credentials);
            Ok(())
        } else {
            Err(Problem::new(Code::NotFound, "there is no session of this number"))
        }
    }

    /// Ends all sessions, but the one of this number.
    pub async fn sign_out_all(&self, kept: Option<SignInId>) -> Result<(), Problem> {
        self.store.remove_sessions(kept).await.map_err(told)?;
        self.events.publish(Event::Credentials);
        Ok(())
    }
}
