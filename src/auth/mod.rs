//! Who asks: API tokens, and the sessions that a browser gets for one. What is handed out is shown once and kept as a
//! hash.

use data_encoding::BASE32_NOPAD;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::names::Actor;
use crate::problem::{Code, Problem};
use crate::store::{SecretHash, Session, Store, StoreError, Token};

/// How long a session lasts.
const SESSION: SignedDuration = SignedDuration::from_hours(30 * 24);
/// What every token begins with, so that a secret scanner knows one.
const PREFIX: &str = "pk_";

/// Tokens and sessions.
#[derive(Debug, Clone)]
pub struct Auth {
    store: Store,
}

/// 256 random bits as text.
fn random() -> String {
    let bytes: [u8; 32] = rand::random();
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}

/// What is looked up is a hash of 256 random bits, so the time that the look-up takes tells nothing of a secret.
fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

impl Auth {
    /// The tokens and sessions of this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Makes a token named `name`. It is shown this once.
    pub async fn create_token(&self, name: &str) -> Result<SecretString, Problem> {
        let good =
            (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
        if !good {
            let detail = "a token's name takes 1 to 64 of letters, digits, - _ . and @";
            return Err(Problem::new(Code::InvalidName, detail));
        }
        let token = format!("{PREFIX}{}", random());
        self.store.create_token(name, hash(&token)).await.map_err(|error| error.problem())?;
        tracing::info!(token = name, "token created");
        Ok(token.into())
    }

    /// All tokens by name.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.store.tokens().await
    }

    /// Removes a token and the sessions that it signed in.
    pub async fn remove_token(&self, name: &str) -> Result<(), Problem> {
        if self.store.remove_token(name).await.map_err(|error| error.problem())? {
            tracing::info!(token = name, "token removed");
            Ok(())
        } else {
            Err(Problem::new(Code::NotFound, "there is no token of this name"))
        }
    }

    /// Who has the token.
    pub async fn token(&self, token: &str) -> Result<Option<Actor>, StoreError> {
        Ok(self.find(token).await?.map(|token| Actor::Token(token.name)))
    }

    async fn find(&self, token: &str) -> Result<Option<Token>, StoreError> {
        if token.len() > 200 || !token.starts_with(PREFIX) {
            return Ok(None);
        }
        self.store.token(hash(token)).await
    }

    /// Signs a browser in; the answer is the cookie's value and when it ends. None: it is no token.
    pub async fn sign_in(
        &self,
        token: &SecretString,
        client: &str,
    ) -> Result<Option<(SecretString, Timestamp)>, StoreError> {
        let Some(token) = self.find(token.expose_secret()).await? else { return Ok(None) };
        let value = random();
        let expires = Timestamp::now() + SESSION;
        let client = client.chars().filter(|c| !c.is_control()).take(200).collect();
        self.store.create_session(hash(&value), token.id, expires, client).await?;
        tracing::info!(token = token.name, "signed in");
        Ok(Some((value.into(), expires)))
    }

    /// The session of a cookie's value.
    pub async fn session(&self, value: &str) -> Result<Option<Session>, StoreError> {
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
            Ok(())
        } else {
            Err(Problem::new(Code::NotFound, "there is no session of this number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> (tempfile::TempDir, Auth) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        (folder, Auth::new(store))
    }

    #[tokio::test]
    async fn a_token_signs_in_until_it_is_removed() {
        let (_folder, auth) = auth();
        let token = auth.create_token("laptop").await.unwrap();
        assert_eq!(auth.token(token.expose_secret()).await.unwrap(), Some(Actor::Token("laptop".into())));
        let (cookie, _) = auth.sign_in(&token, "a browser\n").await.unwrap().unwrap();
        let session = auth.session(cookie.expose_secret()).await.unwrap().unwrap();
        assert_eq!((session.token.as_str(), session.client.as_str()), ("laptop", "a browser"));
        auth.remove_token("laptop").await.unwrap();
        assert_eq!(auth.token(token.expose_secret()).await.unwrap(), None);
        assert_eq!(auth.session(cookie.expose_secret()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_token_signs_nobody_in() {
        let (_folder, auth) = auth();
        auth.create_token("laptop").await.unwrap();
        assert_eq!(auth.create_token("laptop").await.unwrap_err().code, Code::Conflict);
        assert_eq!(auth.create_token("a b").await.unwrap_err().code, Code::InvalidName);
        for text in ["", "pk_", "laptop", "pk_aaaa"] {
            assert_eq!(auth.token(text).await.unwrap(), None, "{text}");
        }
    }
}
