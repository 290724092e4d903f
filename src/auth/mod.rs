//! Who asks: from what a request presents to an identity, for REST, git and Socket.IO alike. What is handed out is
//! shown once and kept as a hash.

mod audit;
mod ceremonies;
mod credential_watch;
mod fold;
mod gate;
mod identity;
mod limits;
mod origin;
mod passkeys;
mod password;
mod presented;
mod sessions;
mod site;
mod tokens;

use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

pub use audit::AuditEvent;
pub use credential_watch::{CredentialWatch, Lease};
pub use identity::{Accepts, Credential, Identity};
pub use presented::{Peer, Presented};
pub use sessions::SignedIn;
pub use site::Site;

use credential_watch::CredentialWatches;
use fold::Refusals;
use limits::Limits;
use password::Passwords;

use crate::config::LiveConfig;
use crate::events::Events;
pub use crate::store::{AuditState, Grant};
use crate::store::{SecretHash, Store};

/// Credentials: whom they belong to, and how they come and go.
#[derive(Debug, Clone)]
pub struct Auth {
    store: Store,
    events: Events,
    config: LiveConfig,
    limits: Arc<Limits>,
    passwords: Arc<Passwords>,
    refusals: Arc<Refusals>,
    open: Arc<passkeys::Open>,
    staying: Arc<CredentialWatches>,
}

impl Auth {
    /// The credentials of this store.
    #[must_use]
    pub fn new(store: Store, events: Events, config: LiveConfig) -> Self {
        let now = config.get();
        let limits = Arc::new(Limits::new(now.limits.guesses, now.limits.handshakes, Default::default()));
        let (passwords, refusals) = (Arc::new(Passwords::new()), Arc::new(Refusals::new()));
        let open = Arc::new(passkeys::Open::new());
        Self { store, events, config, limits, passwords, refusals, open, staying: Arc::default() }
    }
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

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::Config;
    use crate::events::Event;
    use crate::names::{Actor, Scope};
    use crate::problem::Code;
    use crate::store::Grant;

    pub(super) fn auth_at(public_url: &str) -> (tempfile::TempDir, Auth) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        let mut config = Config::default();
        config.listen.public_url = public_url.parse().unwrap();
        (folder, Auth::new(store, Events::new(), LiveConfig::new(config)))
    }

    const READ: Grant = Grant { scope: Scope::Read, service: None };

    pub(super) fn presented(authorization: Option<String>, cookie: Option<String>) -> Presented {
        Presented {
            peer: Peer::Network([127, 0, 0, 1].into()),
            safe: true,
            authorization,
            cookie,
            secure_cookie: None,
            origin: None,
            fetch_site: None,
            fetch_mode: None,
            host: Some("localhost".into()),
            forwarded: Vec::new(),
        }
    }

    pub(super) fn basic(password: &str) -> Presented {
        presented(Some(format!("Basic {}", BASE64.encode(format!("anybody:{password}").as_bytes()))), None)
    }

    #[tokio::test]
    async fn a_token_signs_in_until_it_is_removed() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        let mut heard = auth.events.subscribe();
        let token = auth.create_token("laptop".parse().unwrap(), READ, None).await.unwrap();
        let with_token = presented(Some(format!("Bearer {}", token.expose_secret())), None);
        let identity = auth.identify(&with_token, Accepts::Web).await.unwrap().unwrap();
        assert_eq!((&identity.actor, &identity.grant), (&Actor::Token("laptop".parse().unwrap()), &READ));
        let signed_in = auth.sign_in(&token, &presented(None, None), "a browser\n").await.unwrap().unwrap();
        let with_cookie = presented(None, Some(signed_in.value.expose_secret().to_owned()));
        let session = auth.identify(&with_cookie, Accepts::Web).await.unwrap().unwrap();
        assert_eq!((&session.actor, &session.grant), (&identity.actor, &READ));
        assert!(matches!(session.credential, Credential::Session(_)) && session.ends.is_some());
        let foreign = Presented { origin: Some("http://evil.example".into()), ..with_cookie.clone() };
        assert_eq!(auth.identify(&foreign, Accepts::Web).await.unwrap_err().code, Code::WrongOrigin);
        assert_eq!(
            auth.identify(&with_cookie.clone().unsafely(), Accepts::Web).await.unwrap_err().code,
            Code::WrongOrigin
        );
        assert_eq!(auth.still(&session).await.unwrap().as_ref(), Some(&session));
        assert!(heard.try_recv().is_err());

        auth.remove_token(&"laptop".parse().unwrap()).await.unwrap();
        assert_eq!(heard.try_recv(), Ok(Event::Credentials));
        for gone in [&with_token, &with_cookie] {
            assert_eq!(auth.identify(gone, Accepts::Web).await.unwrap(), None);
        }
        assert_eq!(auth.still(&identity).await.unwrap(), None);
        assert_eq!(auth.still(&session).await.unwrap(), None);
    }

    #[tokio::test]
    async fn whoever_goes_for_another_session_is_told_at_once() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        let token = auth.create_token("laptop".parse().unwrap(), READ, None).await.unwrap();
        let sign_in = async || auth.sign_in(&token, &presented(None, None), "a browser").await.unwrap().unwrap();
        let first = presented(None, Some(sign_in().await.value.expose_secret().to_owned()));
        let mut heard = auth.events.subscribe();
        let mut others = 0;
        while heard.try_recv().is_err() {
            others += 1;
            assert!(others <= 1000, "one went for it");
            sign_in().await;
        }
        assert_eq!(auth.identify(&first, Accepts::Web).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_token_signs_nobody_in() {
        let (_folder, auth) = auth_at("http://localhost:7070");
        auth.create_token("laptop".parse().unwrap(), READ, None).await.unwrap();
        assert_eq!(auth.create_token("laptop".parse().unwrap(), READ, None).await.unwrap_err().code, Code::Conflict);
        for text in ["", "pk_", "laptop", "pk_aaaa"] {
            let shown = presented(Some(format!("Bearer {text}")), None);
            assert_eq!(auth.identify(&shown, Accepts::Web).await.unwrap(), None, "{text}");
        }
    }
}
