//! API tokens: named, with a scope, shown once.

use jiff::Timestamp;
use secrecy::SecretString;

use super::{Auth, hash, random};
use crate::events::Event;
use crate::names::TokenName;
use crate::problem::{Code, Problem};
use crate::store::{Grant, StoreError, Token};

/// What every token begins with, so that a secret scanner knows one.
pub(super) const PREFIX: &str = "pk_";

impl Auth {
    /// Makes a token named `name`. It is shown this once.
    pub async fn create_token(
        &self,
        name: TokenName,
        grant: Grant,
        expires: Option<Timestamp>,
    ) -> Result<SecretString, Problem> {
        if expires.is_some_and(|ends| ends <= Timestamp::now()) {
            return Err(Problem::new(Code::InvalidSetting, "the token would have ended already"));
        }
        let token = format!("{PREFIX}{}", random());
        self.store.create_token(name.clone(), hash(&token), grant, expires).await.map_err(|error| error.problem())?;
        tracing::info!(token = %name, "token created");
        Ok(token.into())
    }

    /// All tokens by name.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.store.tokens().await
    }

    /// Removes a token and the sessions that it signed in.
    pub async fn remove_token(&self, name: &TokenName) -> Result<(), Problem> {
        if self.store.remove_token(name).await.map_err(|error| error.problem())? {
            self.events.publish(Event::Credentials);
            tracing::info!(token = %name, "token removed");
            Ok(())
        } else {
            Err(Problem::new(Code::NotFound, "there is no token of this name")
                .with_hint("`podkeeper token list`, or GET /credentials/tokens, lists them"))
        }
    }

    /// The token of this text, where it has not ended.
    pub(super) async fn token(&self, token: &str) -> Result<Option<Token>, StoreError> {
        if token.len() > 200 || !token.starts_with(PREFIX) {
            return Ok(None);
        }
        self.store.token(hash(token)).await
    }
}
