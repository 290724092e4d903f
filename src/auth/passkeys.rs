//! Passkeys (WebAuthn): discoverable, with the user verified, without a user name. What a browser is asked to sign is
//! kept here and never in a cookie, and is good once.

use std::sync::{Mutex, PoisonError};

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use webauthn_rs::prelude::{
    Credential as Internals, DiscoverableAuthentication, Passkey as Key, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Uuid, WebauthnError,
};

use super::ceremonies::Ceremonies;
use super::{Auth, Credential, Identity, Site, hash, random};
use crate::events::Event;
use crate::names::PasskeyName;
use crate::problem::{Code, Problem, chain};
use crate::store::{AuthenticatorData, LINK, NewPasskey, Passkey, StoreError};

/// How many registrations may be under way; only who may register one begins one.
const REGISTRATIONS: usize = 64;
/// How many logins may be under way; anybody may begin one.
const LOGINS: usize = 2048;

/// What browsers were asked to sign.
#[derive(Debug)]
pub(super) struct Open {
    registrations: Mutex<Ceremonies<Registration>>,
    logins: Mutex<Ceremonies<Login>>,
}

impl Open {
    pub(super) fn new() -> Self {
        Self { registrations: Mutex::new(Ceremonies::new(REGISTRATIONS)), logins: Mutex::new(Ceremonies::new(LOGINS)) }
    }
}

#[derive(Debug)]
struct Registration {
    by: Credential,
    site: Site,
    user: Uuid,
    state: PasskeyRegistration,
}

#[derive(Debug)]
struct Login {
    site: Site,
    state: DiscoverableAuthentication,
}

/// Why a passkey was refused.
#[derive(Debug, Error)]
enum Refusal {
    #[error("this is not what a browser answers: {0}")]
    Malformed(&'static str),
    #[error("this answers no question that is open: it was answered already, or its time is over")]
    NoCeremony,
    #[error("the browser signed for another address than this one")]
    WrongSite,
    #[error("the authenticator did not check who you are, as by a PIN, a fingerprint or a face")]
    NotVerified,
    #[error("the authenticator can't be found again without a user name: it made no discoverable passkey")]
    NotDiscoverable,
    #[error("this passkey is not known here; it may have been removed")]
    Unknown,
    #[error("the passkey's counter went back: it may be a copy")]
    Copied,
    #[error("the passkey's data or signature is not good")]
    Bad(#[source] WebauthnError),
}

impl From<WebauthnError> for Refusal {
    fn from(error: WebauthnError) -> Self {
        match error {
            WebauthnError::InvalidRPOrigin | WebauthnError::InvalidRPIDHash => Self::WrongSite,
            WebauthnError::UserNotVerified | WebauthnError::UserNotPresent => Self::NotVerified,
            WebauthnError::CredentialPossibleCompromise => Self::Copied,
            error => Self::Bad(error),
        }
    }
}

impl Refusal {
    /// What the client is told; `code` says what it wanted.
    fn problem(&self, code: Code) -> Problem {
        tracing::info!(problem = code.as_str(), "a passkey is refused: {}", chain(self));
        let problem = Problem::new(code, self.to_string());
        match self {
            Self::NoCeremony => problem.with_hint("begin again"),
            Self::NotVerified => problem.with_hint("set a PIN or a screen lock on it, or take another one"),
            Self::Unknown => problem.with_hint("`podkeeper enroll` on the host makes a link for a new one"),
            _ => problem,
        }
    }
}

/// The part of the client's data that finds the ceremony. The verifier reads all of it, and its signature.
#[derive(Deserialize)]
struct ClientData {
    challenge: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

/// The challenge that was signed.
fn challenge(client_data: &[u8]) -> Result<Vec<u8>, Refusal> {
    let data: ClientData = serde_json::from_slice(client_data).map_err(|_| Refusal::Malformed("clientDataJSON"))?;
    if data.cross_origin {
        return Err(Refusal::WrongSite);
    }
    BASE64URL_NOPAD.decode(data.challenge.as_bytes()).map_err(|_| Refusal::Malformed("challenge"))
}

/// A credential's id from its text.
fn credential_id(text: &str) -> Result<Vec<u8>, Problem> {
    let id = BASE64URL_NOPAD.decode(text.as_bytes()).ok().filter(|id| (1..=1023).contains(&id.len()));
    id.ok_or_else(|| Problem::new(Code::BadRequest, "a passkey's id is base64url without padding"))
}

fn authenticator(key: &Key) -> AuthenticatorData {
    let inner = Internals::from(key.clone());
    AuthenticatorData {
        counter: inner.counter,
        backup_eligible: inner.backup_eligible,
        backup_state: inner.backup_state,
    }
}

fn written(key: &Key) -> Result<String, Problem> {
    serde_json::to_string(key).map_err(|error| Problem::new(Code::Internal, format!("a key can't be kept: {error}")))
}

fn options(value: &impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(value).map_err(|error| Problem::new(Code::Internal, format!("no options: {error}")))
}

fn not_begun(error: WebauthnError) -> Problem {
    tracing::error!("a ceremony can't begin: {}", chain(&error));
    Problem::new(Code::Internal, "the ceremony can't begin")
}

/// What tells this host's passkeys from another's in the list that a browser shows.
fn user_name() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    format!("podkeeper@{}", host.as_deref().unwrap_or("localhost"))
}

fn told(error: StoreError) -> Problem {
    if !matches!(error, StoreError::LastPasskey | StoreError::PasskeyKnown | StoreError::LinkUsed) {
        tracing::error!("passkeys: {}", chain(&error));
    }
    error.problem()
}

impl Auth {
    /// A link that lets a browser register a passkey without being signed in, once, for ten minutes. Its secret stands
    /// behind the `#`, which browsers send to nobody.
    pub async fn enroll(&self) -> Result<(SecretString, Timestamp), Problem> {
        let site = self.public_site()?;
        site.webauthn()?;
        let secret = random();
        let expires = Timestamp::now() + LINK;
        self.store.create_link(hash(&secret), expires).await.map_err(told)?;
        tracing::info!("an enrolment link is made");
        Ok((format!("{}/#enroll={secret}", site.origin()).into(), expires))
    }

    /// What a browser needs to make a passkey for whoever `by` is.
    pub async fn start_registration(&self, by: &Identity, site: &Site) -> Result<Value, Problem> {
        let webauthn = site.webauthn()?;
        let known = self.store.passkeys().await.map_err(told)?;
        let known: Vec<_> = known.into_iter().filter(|passkey| passkey.rp_id == site.rp_id()).collect();
        // One owner for all passkeys of this host, so that an authenticator holds at most one of them.
        let user = known.first().map_or_else(rand::random, |passkey| passkey.user_handle);
        let user = Uuid::from_bytes(user);
        let exclude = known.into_iter().map(|passkey| passkey.credential).collect();
        let name = user_name();
        let (mut creation, state) =
            webauthn.start_passkey_registration(user, &name, &name, Some(exclude)).map_err(not_begun)?;
        let mut value = options(&creation)?;
        let selection = &mut value["publicKey"]["authenticatorSelection"];
        selection["residentKey"] = "required".into();
        selection["requireResidentKey"] = true.into();
        selection["userVerification"] = "required".into();
        let challenge = std::mem::take(&mut creation.public_key.challenge);
        let registration = Registration { by: by.credential, site: site.clone(), user, state };
        let limit = self.config.get().auth.ceremony;
        let mut open = self.open.registrations.lock().unwrap_or_else(PoisonError::into_inner);
        open.open(challenge, registration, limit);
        Ok(value)
    }

    /// Keeps the passkey that a browser has made: `id` is the credential's, `key` the browser's whole answer.
    pub async fn finish_registration(
        &self,
        by: &Identity,
        site: &Site,
        id: &str,
        key: Value,
        name: PasskeyName,
    ) -> Result<Passkey, Problem> {
        let id = credential_id(id)?;
        let transports = transports(&key);
        let verified = self.verify_new(by, site, &id, key);
        let (key, user) = verified.map_err(|refusal| refusal.problem(Code::InvalidPasskey))?;
        let new = NewPasskey {
            credential: key.cred_id().to_vec(),
            rp_id: site.rp_id().to_owned(),
            user_handle: user.into_bytes(),
            name,
            key: written(&key)?,
            transports,
            authenticator: authenticator(&key),
        };
        let link = match by.credential {
            Credential::Link(id) => Some(id),
            _ => None,
        };
        let passkey = self.store.create_passkey(new, link).await.map_err(told)?;
        tracing::info!(actor = %by.actor, passkey = %passkey.name, "a passkey is registered");
        Ok(passkey)
    }

    fn verify_new(&self, by: &Identity, site: &Site, id: &[u8], key: Value) -> Result<(Key, Uuid), Refusal> {
        let discoverable = key["clientExtensionResults"]["credProps"]["rk"] != Value::Bool(false);
        let answer: RegisterPublicKeyCredential =
            serde_json::from_value(key).map_err(|_| Refusal::Malformed("it is no RegistrationResponseJSON"))?;
        let challenge = challenge(&answer.response.client_data_json)?;
        let limit = self.config.get().auth.ceremony;
        let registration = {
            let mut open = self.open.registrations.lock().unwrap_or_else(PoisonError::into_inner);
            open.close(&challenge, limit).ok_or(Refusal::NoCeremony)?
        };
        if registration.by != by.credential {
            return Err(Refusal::NoCeremony);
        }
        if registration.site != *site {
            return Err(Refusal::WrongSite);
        }
        let webauthn = site.webauthn().map_err(|_| Refusal::WrongSite)?;
        let key = webauthn.finish_passkey_registration(&answer, &registration.state)?;
        if key.cred_id().as_slice() != id {
            return Err(Refusal::Malformed("`id` is not the id in `key`"));
        }
        if !discoverable {
            return Err(Refusal::NotDiscoverable);
        }
        Ok((key, registration.user))
    }

    /// What a browser needs to sign somebody in with one of this address's passkeys.
    pub fn start_login(&self, site: &Site) -> Result<Value, Problem> {
        let webauthn = site.webauthn()?;
        let (mut request, state) = webauthn.start_discoverable_authentication().map_err(not_begun)?;
        // The page decides whether the browser asks at once or offers passkeys in a field.
        request.mediation = None;
        let value = options(&request)?;
        let login = Login { site: site.clone(), state };
        let limit = self.config.get().auth.ceremony;
        let mut open = self.open.logins.lock().unwrap_or_else(PoisonError::into_inner);
        open.open(request.public_key.challenge, login, limit);
        Ok(value)
    }

    /// The passkey that has signed what the browser was asked to.
    pub async fn finish_login(&self, site: &Site, key: Value) -> Result<Passkey, Problem> {
        let refused = |refusal: Refusal| refusal.problem(Code::NotSignedIn);
        let answer: PublicKeyCredential = serde_json::from_value(key)
            .map_err(|_| refused(Refusal::Malformed("it is no AuthenticationResponseJSON")))?;
        let challenge = challenge(&answer.response.client_data_json).map_err(refused)?;
        let limit = self.config.get().auth.ceremony;
        let login = {
            let mut open = self.open.logins.lock().unwrap_or_else(PoisonError::into_inner);
            open.close(&challenge, limit)
        };
        let login = login.ok_or_else(|| refused(Refusal::NoCeremony))?;
        if login.site != *site {
            return Err(refused(Refusal::WrongSite));
        }
        let webauthn = site.webauthn()?;
        let (user, id) =
            webauthn.identify_discoverable_authentication(&answer).map_err(|error| refused(error.into()))?;
        let passkey = self.store.passkey(id.to_vec()).await.map_err(told)?;
        let passkey = passkey
            .filter(|passkey| passkey.rp_id == site.rp_id() && passkey.user_handle == user.into_bytes())
            .ok_or_else(|| refused(Refusal::Unknown))?;
        let mut key: Key =
            serde_json::from_str(&passkey.key).map_err(|_| told(StoreError::Corrupt { what: "passkey" }))?;
        let result = webauthn
            .finish_discoverable_authentication_v2(&answer, login.state, &key)
            .map_err(|error| refused(error.into()))?;
        key.update_credential(&result);
        let used =
            self.store.passkey_used(passkey.id, passkey.authenticator, authenticator(&key), written(&key)?).await;
        // Another login with the same counter was faster.
        if !used.map_err(told)? {
            return Err(refused(Refusal::Copied));
        }
        Ok(passkey)
    }

    /// All passkeys, the oldest first.
    pub async fn passkeys(&self) -> Result<Vec<Passkey>, Problem> {
        self.store.passkeys().await.map_err(told)
    }

    /// Gives a passkey another name.
    pub async fn rename_passkey(&self, id: &str, name: PasskeyName) -> Result<(), Problem> {
        if self.store.rename_passkey(credential_id(id)?, name).await.map_err(told)? { Ok(()) } else { Err(unknown()) }
    }

    /// Removes a passkey and ends the sessions that it signed in. The last one stays.
    pub async fn remove_passkey(&self, id: &str) -> Result<(), Problem> {
        if self.store.remove_passkey(credential_id(id)?).await.map_err(told)? {
            self.events.publish(Event::Credentials);
            tracing::info!("a passkey is removed");
            Ok(())
        } else {
            Err(unknown())
        }
    }
}

fn unknown() -> Problem {
    Problem::new(Code::NotFound, "there is no passkey of this id")
}

/// How the browser says that the authenticator is reached. Nothing depends on it.
fn transports(key: &Value) -> Vec<String> {
    let all = key["response"]["transports"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let known =
        |word: &&str| (1..=32).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    all.filter(known).take(8).map(str::to_owned).collect()
}
