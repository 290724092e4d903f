//! Passkeys with two authenticators that know nothing of each other: webauthn-rs's and 1Password's.

use data_encoding::BASE64URL_NOPAD;
use passkey::authenticator::{Authenticator as Device, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey::types::ctap2::{Aaguid, Ctap2Error};
use podkeeper::names::Scope;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;
use webauthn_authenticator_rs::prelude::WebauthnAuthenticator;
use webauthn_authenticator_rs::softpasskey::SoftPasskey;

use super::support::{Answer, TestAgent, raw, request};

const LOCAL: &str = "http://localhost:4711";

/// What holds passkeys, behind a browser that is at `origin`.
trait Authenticator {
    async fn create(&mut self, origin: &str, options: &Value) -> Value;
    async fn get(&mut self, origin: &str, options: &Value) -> Value;
}

/// webauthn-rs's, which makes no discoverable passkeys: what a browser would do for them is done here.
struct Soft {
    key: SoftPasskey,
    made: Vec<(String, String)>,
}

impl Soft {
    fn new() -> Self {
        Self { key: SoftPasskey::new(true), made: Vec::new() }
    }
}

impl Authenticator for Soft {
    async fn create(&mut self, origin: &str, options: &Value) -> Value {
        let mut options = options.clone();
        let public_key = &mut options["publicKey"];
        assert_eq!(public_key["authenticatorSelection"]["residentKey"], "required");
        public_key["authenticatorSelection"]["requireResidentKey"] = json!(false);
        let user = public_key["user"]["id"].as_str().unwrap().to_owned();
        let made = self.key.do_registration(origin.parse().unwrap(), serde_json::from_value(options).unwrap()).unwrap();
        self.made.push((made.id.clone(), user));
        serde_json::to_value(made).unwrap()
    }

    async fn get(&mut self, origin: &str, options: &Value) -> Value {
        let (id, user) = self.made.last().unwrap();
        let mut options = options.clone();
        assert_eq!(options["publicKey"]["allowCredentials"], json!([]));
        options["publicKey"]["allowCredentials"] = json!([{ "type": "public-key", "id": id }]);
        let got =
            self.key.do_authentication(origin.parse().unwrap(), serde_json::from_value(options).unwrap()).unwrap();
        let mut value = serde_json::to_value(got).unwrap();
        value["response"]["userHandle"] = json!(user);
        value
    }
}

/// A person who shows a finger, or only touches.
struct Person {
    verified: bool,
}

#[async_trait::async_trait]
impl UserValidationMethod for Person {
    type PasskeyItem = passkey::types::Passkey;

    async fn check_user<'a>(
        &self,
        _: UiHint<'a, Self::PasskeyItem>,
        _: bool,
        _: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: self.verified })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

type Stored = Option<passkey::types::Passkey>;

/// 1Password's, with room for one discoverable passkey.
struct OnePassword {
    stored: Stored,
    verified: bool,
}

impl OnePassword {
    fn new() -> Self {
        Self { stored: None, verified: true }
    }

    fn device(&self) -> Device<Stored, Person, RustCryptoBackend> {
        let person = Person { verified: self.verified };
        let mut device = Device::new(Aaguid::new_empty(), self.stored.clone(), person, RustCryptoBackend);
        device.set_make_credentials_with_signature_counter(true);
        device
    }
}

impl Authenticator for OnePassword {
    async fn create(&mut self, origin: &str, options: &Value) -> Value {
        let mut client = Client::new(self.device()).allows_insecure_localhost(true);
        let origin: Url = origin.parse().unwrap();
        let options = serde_json::from_value(options.clone()).unwrap();
        let made = client.register(&origin, options, DefaultClientData).await.unwrap();
        self.stored = client.authenticator().store().clone();
        serde_json::to_value(made).unwrap()
    }

    async fn get(&mut self, origin: &str, options: &Value) -> Value {
        let mut client = Client::new(self.device()).allows_insecure_localhost(true);
        let origin: Url = origin.parse().unwrap();
        let options = serde_json::from_value(options.clone()).unwrap();
        let got = client.authenticate(&origin, options, DefaultClientData).await.unwrap();
        self.stored = client.authenticator().store().clone();
        serde_json::to_value(got).unwrap()
    }
}

/// A browser's page of the dashboard, at an address.
struct Page<'a> {
    agent: &'a TestAgent,
    origin: String,
    cookie: Option<String>,
}

impl<'a> Page<'a> {
    fn at(agent: &'a TestAgent, origin: &str) -> Self {
        Self { agent, origin: origin.to_owned(), cookie: None }
    }

    async fn send(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &Value) -> Answer {
        let mut headers = vec![("Origin", self.origin.as_str()), ("User-Agent", "Mozilla/5.0 Firefox/140.0")];
        headers.extend_from_slice(more);
        if let Some(cookie) = &self.cookie {
            headers.push(("Cookie", cookie));
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        if !text.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let host = self.origin.split_once("://").unwrap().1;
        let text =
            request(method, path, &headers, &text).replacen("Host: localhost\r\n", &format!("Host: {host}\r\n"), 1);
        let answer = raw(self.agent.served.address, &text).await;
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = Some(cookie.split(';').next().unwrap().replace("__host", "__Host"));
        }
        answer
    }

    async fn call(&mut self, method: &str, path: &str, body: Value) -> Answer {
        self.send(method, path, &[], &body).await
    }

    async fn link(&self) -> String {
        let (url, _) = self.agent.auth.enroll().await.unwrap();
        let (page, secret) = url.expose_secret().split_once("/#enroll=").unwrap();
        assert_eq!(page, "http://localhost:7070");
        format!("Enroll {secret}")
    }

    async fn options(&mut self, path: &str, more: &[(&str, &str)]) -> Value {
        let answer = self.send("POST", path, more, &Value::Null).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn enrol(&mut self, device: &mut impl Authenticator) -> Value {
        let link = self.link().await;
        let link = [("Authorization", link.as_str())];
        let options = self.options(REGISTER_OPTIONS, &link).await;
        let key = device.create(&self.origin, &options).await;
        let answer = self.send("POST", REGISTER, &link, &json!({ "id": key["id"], "key": key, "name": "first" })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    async fn add(&mut self, device: &mut impl Authenticator, name: &str) -> Answer {
        let options = self.options(REGISTER_OPTIONS, &[]).await;
        let key = device.create(&self.origin, &options).await;
        self.call("POST", REGISTER, json!({ "id": key["id"], "key": key, "name": name })).await
    }

    async fn log_in(&mut self, device: &mut impl Authenticator) -> Answer {
        let options = self.options(LOGIN_OPTIONS, &[]).await;
        let key = device.get(&self.origin, &options).await;
        self.call("POST", LOGIN, json!({ "key": key })).await
    }

    async fn signed_in(&mut self) -> bool {
        self.call("GET", "/credentials/session", Value::Null).await.status == 200
    }
}

const REGISTER_OPTIONS: &str = "/credentials/fido/register/options";
const REGISTER: &str = "/credentials/fido/register";
const LOGIN_OPTIONS: &str = "/credentials/fido/login/options";
const LOGIN: &str = "/credentials/fido/login";

async fn a_whole_life(device: &mut impl Authenticator, second: &mut impl Authenticator) {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    assert!(!page.signed_in().await);
    let first = page.enrol(device).await;
    assert_eq!((first["name"].as_str(), first["host"].as_str()), (Some("first"), Some("localhost")));
    assert!(page.signed_in().await, "the link signs its owner in with the new passkey");

    // Another tunnel has another port.
    let mut page = Page::at(&agent, "http://localhost:9999");
    let answer = page.log_in(device).await;
    assert_eq!((answer.status, answer.json()["actor"].as_str()), (200, Some("passkey:first")), "{answer:?}");
    assert!(page.signed_in().await);
    let who = page.call("GET", "/credentials/session", Value::Null).await.json();
    assert_eq!((who["actor"].as_str(), who["scope"].as_str()), (Some("passkey:first"), Some("admin")));

    let path = format!("/credentials/fido/{}", first["id"].as_str().unwrap());
    let last = page.call("DELETE", &path, Value::Null).await;
    assert_eq!((last.status, last.code().as_str()), (409, "conflict"), "the last one stays: {last:?}");
    assert_eq!(page.call("PATCH", &path, json!({ "name": "" })).await.code(), "invalid-name");
    assert_eq!(page.call("PATCH", &path, json!({ "name": "Schlüssel" })).await.status, 204);

    assert_eq!(page.add(second, "second").await.status, 201);
    let list = page.call("GET", "/credentials", Value::Null).await.json();
    let names: Vec<_> = list["passkeys"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Schlüssel", "second"]);
    assert!(list["passkeys"][0]["last_used"].is_string() && list["passkeys"][1]["last_used"].is_null(), "{list}");

    assert_eq!(page.log_in(second).await.status, 200);
    assert_eq!(page.call("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(page.call("DELETE", &path, Value::Null).await.status, 404);
    let mut other = Page::at(&agent, LOCAL);
    let refused = other.log_in(device).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "not-signed-in"), "{refused:?}");
    assert!(refused.body.contains("not known here") && refused.body.contains("podkeeper enroll"), "{refused:?}");
    assert!(page.signed_in().await && !other.signed_in().await);
}

#[tokio::test]
async fn a_passkey_of_webauthn_rs_lives_its_life() {
    a_whole_life(&mut Soft::new(), &mut OnePassword::new()).await;
}

#[tokio::test]
async fn a_passkey_of_1password_lives_its_life() {
    a_whole_life(&mut OnePassword::new(), &mut Soft::new()).await;
}

#[tokio::test]
async fn a_domain_has_passkeys_of_its_own_and_a_cookie_for_it_alone() {
    let agent =
        TestAgent::start_with(|config| config.listen.origins = vec!["https://pods.example.com".parse().unwrap()]).await;
    let mut local = Page::at(&agent, LOCAL);
    let mut device = OnePassword::new();
    local.enrol(&mut device).await;
    let bearer = agent.token("admin", Scope::Admin, None).await;
    let bearer = format!("Bearer {}", bearer.expose_secret());
    let key = [("Authorization", bearer.as_str())];

    let mut page = Page::at(&agent, "https://pods.example.com");
    let options = page.options(REGISTER_OPTIONS, &key).await;
    assert_eq!(options["publicKey"]["rp"]["id"], "pods.example.com");
    assert_eq!(options["publicKey"]["excludeCredentials"], json!([]), "that of localhost is another one");
    let mut own = OnePassword::new();
    let made = own.create(&page.origin, &options).await;
    let answer = page.send("POST", REGISTER, &key, &json!({ "id": made["id"], "key": made, "name": "domain" })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let answer = page.log_in(&mut own).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__host-podkeeper=") && cookie.contains("; secure") && cookie.contains("; path=/;"));
    assert!(!cookie.contains("domain="), "{cookie}");
    assert!(answer.header("strict-transport-security").is_some_and(|value| value.starts_with("max-age=31536000")));
    assert!(page.signed_in().await);
    // What a neighbour without TLS could plant is not taken.
    let value = page.cookie.clone().unwrap().replace("__Host-", "");
    page.cookie = Some(value);
    assert!(!page.signed_in().await);

    // The passkey of one host says nothing at the other, whatever the page claims.
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let mut elsewhere = options.clone();
    elsewhere["publicKey"]["rpId"] = json!("localhost");
    let key = device.get(LOCAL, &elsewhere).await;
    let answer = page.call("POST", LOGIN, json!({ "key": key })).await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn where_browsers_have_no_passkeys_the_problem_says_what_to_do() {
    let agent = TestAgent::start().await;
    for origin in ["http://127.0.0.1:7070", "http://[::1]:7070", "http://192.0.2.1", "http://evil.example"] {
        let mut page = Page::at(&agent, origin);
        let answer = page.call("POST", LOGIN_OPTIONS, Value::Null).await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "unfit-address"), "{origin}: {answer:?}");
        assert!(answer.body.contains("hint"), "{answer:?}");
    }
    let agent = TestAgent::start_with(|config| config.listen.public_url = "https://192.0.2.1".parse().unwrap()).await;
    let problem = agent.auth.enroll().await.unwrap_err();
    assert!(problem.detail.contains("IP address") && problem.hint.unwrap().contains("ssh -L"), "{}", problem.detail);
}

#[tokio::test]
async fn a_link_is_good_once_and_for_ten_minutes_and_lost_passkeys_are_replaced_by_another() {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    let link = page.link().await;
    let header = [("Authorization", link.as_str())];
    // Looking at it, and a registration that fails, don't use it up.
    let options = page.options(REGISTER_OPTIONS, &header).await;
    let mut device = Soft::new();
    let mut key = device.create("http://localhost:1", &options).await;
    let body = json!({ "id": key["id"], "key": key });
    assert_eq!(page.send("POST", REGISTER, &header, &body).await.code(), "invalid-passkey");
    let mut again = page.options(REGISTER_OPTIONS, &header).await;
    key = device.create(LOCAL, &again).await;
    let body = json!({ "id": key["id"], "key": key });
    assert_eq!(page.send("POST", REGISTER, &header, &body).await.status, 201);
    // Now it is.
    page.cookie = None;
    let used = page.send("POST", REGISTER_OPTIONS, &header, &Value::Null).await;
    assert_eq!((used.status, used.code().as_str()), (401, "not-signed-in"), "{used:?}");
    assert!(used.body.contains("podkeeper enroll"));
    // It opens nothing else, ever.
    let link = page.link().await;
    let header = [("Authorization", link.as_str())];
    for path in ["/services", "/credentials", "/sessions", "/credentials/session"] {
        assert_eq!(page.send("GET", path, &header, &Value::Null).await.status, 401, "{path}");
    }
    // Two registrations begun with one link: the first to finish has it.
    let options = page.options(REGISTER_OPTIONS, &header).await;
    again = page.options(REGISTER_OPTIONS, &header).await;
    let (mut one, mut two) = (OnePassword::new(), OnePassword::new());
    let first = one.create(LOCAL, &options).await;
    let second = two.create(LOCAL, &again).await;
    let (first, second) = (json!({ "id": first["id"], "key": first }), json!({ "id": second["id"], "key": second }));
    assert_eq!(page.send("POST", REGISTER, &header, &first).await.status, 201);
    page.cookie = None;
    assert_eq!(page.send("POST", REGISTER, &header, &second).await.status, 401);
    assert_eq!(page.log_in(&mut one).await.status, 200);

    // After ten minutes it is over.
    let (ten_minutes, before) = (jiff::SignedDuration::from_mins(10), jiff::Timestamp::now());
    let (_, expires) = agent.auth.enroll().await.unwrap();
    assert!(before + ten_minutes <= expires && expires <= jiff::Timestamp::now() + ten_minutes, "{expires}");
    let late = page.link().await;
    agent.database().execute("UPDATE enrolment_links SET expires = expires - 600000000", []).unwrap();
    page.cookie = None;
    let header = [("Authorization", late.as_str())];
    assert_eq!(page.send("POST", REGISTER_OPTIONS, &header, &Value::Null).await.status, 401);
}

#[tokio::test]
async fn what_was_not_signed_here_now_and_by_its_owner_is_refused() {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    let mut device = OnePassword::new();
    page.enrol(&mut device).await;
    page.cookie = None;
    let refused = async |page: &mut Page<'_>, key: &Value, why: &str| {
        let answer = page.call("POST", LOGIN, json!({ "key": key })).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "not-signed-in"), "{why}: {answer:?}");
        assert!(answer.body.contains(why), "{why}: {answer:?}");
        assert!(answer.header("set-cookie").is_none());
    };

    // The wrong origin: signed for another port, and sent from another page.
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let key = device.get("http://localhost:1", &options).await;
    refused(&mut page, &key, "another address").await;
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let key = device.get(LOCAL, &options).await;
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    let mut evil = Page::at(&agent, LOCAL);
    evil.origin = "http://evil.example".into();
    let answer = evil.send("POST", LOGIN, &foreign, &json!({ "key": key })).await;
    assert_eq!(answer.status, 403, "{answer:?}");

    // A challenge that is answered twice.
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let key = device.get(LOCAL, &options).await;
    assert_eq!(page.call("POST", LOGIN, json!({ "key": key })).await.status, 200);
    page.cookie = None;
    refused(&mut page, &key, "answered already").await;

    // One that we never gave.
    let mut own = page.options(LOGIN_OPTIONS, &[]).await;
    own["publicKey"]["challenge"] = json!(BASE64URL_NOPAD.encode(&[7; 32]));
    let key = device.get(LOCAL, &own).await;
    refused(&mut page, &key, "no question that is open").await;

    // The user was not verified.
    let mut options = page.options(LOGIN_OPTIONS, &[]).await;
    options["publicKey"]["userVerification"] = json!("discouraged");
    device.verified = false;
    let key = device.get(LOCAL, &options).await;
    device.verified = true;
    refused(&mut page, &key, "did not check who you are").await;

    // Somebody else's signature, and somebody else's name.
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let mut key = device.get(LOCAL, &options).await;
    key["response"]["signature"] = json!(BASE64URL_NOPAD.encode(&[0x30, 6, 2, 1, 1, 2, 1, 1]));
    refused(&mut page, &key, "not good").await;
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let mut key = device.get(LOCAL, &options).await;
    key["response"]["userHandle"] = json!(BASE64URL_NOPAD.encode(&[7; 16]));
    refused(&mut page, &key, "not known here").await;
}

#[tokio::test]
async fn a_copied_passkey_and_a_removed_one_are_refused() {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    let mut device = OnePassword::new();
    let first = page.enrol(&mut device).await;
    page.cookie = None;
    let refused = async |page: &mut Page<'_>, key: &Value, why: &str| {
        let answer = page.call("POST", LOGIN, json!({ "key": key })).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "not-signed-in"), "{why}: {answer:?}");
        assert!(answer.body.contains(why), "{why}: {answer:?}");
        assert!(answer.header("set-cookie").is_none());
    };
    // A copy of the passkey, whose counter is behind.
    let mut copy = OnePassword { stored: device.stored.clone(), verified: true };
    assert_eq!(page.log_in(&mut device).await.status, 200);
    page.cookie = None;
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let key = copy.get(LOCAL, &options).await;
    refused(&mut page, &key, "counter went back").await;
    let kept: (i64, i64, i64) = agent
        .database()
        .query_row("SELECT version, counter, backup_state FROM passkeys", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(kept, (1, 1, 1));

    // A passkey that was removed.
    assert_eq!(page.log_in(&mut device).await.status, 200);
    assert_eq!(page.add(&mut Soft::new(), "second").await.status, 201);
    let path = format!("/credentials/fido/{}", first["id"].as_str().unwrap());
    assert_eq!(page.call("DELETE", &path, Value::Null).await.status, 204);
    assert!(!page.signed_in().await, "the session that it signed in has ended with it");
    page.cookie = None;
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let key = device.get(LOCAL, &options).await;
    refused(&mut page, &key, "not known here").await;
    for nonsense in [json!(null), json!({}), json!("x"), json!([]), json!({ "id": 1 })] {
        let answer = page.call("POST", LOGIN, json!({ "key": nonsense })).await;
        assert!([400, 401].contains(&answer.status), "{nonsense}: {answer:?}");
    }
}

#[tokio::test]
async fn a_question_has_its_time() {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    let mut device = Soft::new();
    page.enrol(&mut device).await;
    page.cookie = None;
    let options = page.options(LOGIN_OPTIONS, &[]).await;
    let key = device.get(LOCAL, &options).await;
    agent.reconfigure(|config| config.auth.ceremony = std::time::Duration::ZERO);
    let answer = page.call("POST", LOGIN, json!({ "key": key })).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "not-signed-in"), "{answer:?}");
    assert!(answer.body.contains("its time is over"), "{answer:?}");
}

#[tokio::test]
async fn a_registration_is_refused_that_is_not_its_owners_or_not_discoverable() {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    page.enrol(&mut Soft::new()).await;
    let refused = async |page: &mut Page<'_>, id: &Value, key: &Value, why: &str| {
        let answer = page.call("POST", REGISTER, json!({ "id": id, "key": key, "name": "x" })).await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "invalid-passkey"), "{why}: {answer:?}");
        assert!(answer.body.contains(why), "{why}: {answer:?}");
    };
    // The wrong origin, and the wrong relying party.
    let options = page.options(REGISTER_OPTIONS, &[]).await;
    let key = Soft::new().create("http://localhost:1", &options).await;
    refused(&mut page, &key["id"], &key, "another address").await;
    let mut options = page.options(REGISTER_OPTIONS, &[]).await;
    options["publicKey"]["rp"]["id"] = json!("pods.example.com");
    let key = Soft::new().create("https://pods.example.com", &options).await;
    refused(&mut page, &key["id"], &key, "another address").await;
    // The user was not verified.
    let mut options = page.options(REGISTER_OPTIONS, &[]).await;
    options["publicKey"]["authenticatorSelection"]["userVerification"] = json!("discouraged");
    let mut device = OnePassword { stored: None, verified: false };
    let key = device.create(LOCAL, &options).await;
    refused(&mut page, &key["id"], &key, "did not check who you are").await;
    // A replay, an id that is another one's, and a passkey that needs a user name.
    let options = page.options(REGISTER_OPTIONS, &[]).await;
    let key = OnePassword::new().create(LOCAL, &options).await;
    refused(&mut page, &json!("AAAA"), &key, "`id`").await;
    refused(&mut page, &key["id"], &key, "answered already").await;
    let options = page.options(REGISTER_OPTIONS, &[]).await;
    let mut key = OnePassword::new().create(LOCAL, &options).await;
    key["clientExtensionResults"] = json!({ "credProps": { "rk": false } });
    refused(&mut page, &key["id"], &key, "discoverable").await;
    // Somebody else's ceremony: begun by a session, ended by a link.
    let options = page.options(REGISTER_OPTIONS, &[]).await;
    let key = OnePassword::new().create(LOCAL, &options).await;
    let link = page.link().await;
    let body = json!({ "id": key["id"], "key": key });
    let answer = page.send("POST", REGISTER, &[("Authorization", &link)], &body).await;
    assert_eq!(answer.code(), "invalid-passkey", "{answer:?}");
    // A form carries the key as text, and a query carries none.
    let answer = page.call("POST", &format!("{REGISTER}?id=a&key=b"), Value::Null).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"));
    // Who may only read registers nothing, and neither does a token of one service.
    let token = agent.token("reader", Scope::Deploy, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let answer = page.send("POST", REGISTER_OPTIONS, &[("Authorization", &bearer)], &Value::Null).await;
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[tokio::test]
async fn the_seeds_form_registers_a_passkey() {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    let link = page.link().await;
    let options = page.options(REGISTER_OPTIONS, &[("Authorization", &link)]).await;
    let key = Soft::new().create(LOCAL, &options).await;
    let fields = [("id", key["id"].as_str().unwrap()), ("key", &key.to_string())];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers =
        [("Authorization", link.as_str()), ("Origin", LOCAL), ("Content-Type", "application/x-www-form-urlencoded")];
    let text =
        request("POST", REGISTER, &headers, &form).replacen("Host: localhost\r\n", "Host: localhost:4711\r\n", 1);
    let answer = raw(agent.served.address, &text).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn sessions_are_listed_and_ended_and_a_new_login_has_a_new_one() {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    let mut device = Soft::new();
    page.enrol(&mut device).await;
    let first = page.cookie.clone();
    assert_eq!(page.log_in(&mut device).await.status, 200);
    assert_ne!(page.cookie, first);
    let mut old = Page { agent: &agent, origin: LOCAL.into(), cookie: first };
    assert!(!old.signed_in().await, "the session before the login has ended");

    let mut other = Page::at(&agent, "http://localhost:1234");
    assert_eq!(other.log_in(&mut device).await.status, 200);
    let mut third = Page::at(&agent, LOCAL);
    let token = agent.token("laptop", Scope::Admin, None).await;
    assert_eq!(third.call("POST", "/sessions", json!({ "token": token.expose_secret() })).await.status, 201);

    let list = page.call("GET", "/sessions", Value::Null).await.json();
    let all = list["sessions"].as_array().unwrap();
    assert_eq!(all.len(), 3, "{list}");
    assert_eq!((all[0]["actor"].as_str(), all[1]["actor"].as_str()), (Some("token:laptop"), Some("passkey:first")));
    assert_eq!(all.iter().filter(|one| one["current"] == true).count(), 1);
    assert!(all.iter().all(|one| one["client"] == "Mozilla/5.0 Firefox/140.0" && one["address"] == "127.0.0.1"));
    let stored: Vec<u8> = agent
        .database()
        .query_row("SELECT hash FROM sessions WHERE id = ?1", [all[0]["id"].as_i64()], |row| row.get(0))
        .unwrap();
    let value = third.cookie.clone().unwrap();
    assert!(stored.len() == 32 && !value.as_bytes().windows(32).any(|part| part == stored));

    let path = format!("/sessions/{}", all[1]["id"]);
    assert_eq!(page.call("DELETE", &path, Value::Null).await.status, 204);
    assert!(!other.signed_in().await && third.signed_in().await);
    assert_eq!(page.call("DELETE", "/sessions?others=true", Value::Null).await.status, 204);
    assert!(!third.signed_in().await && page.signed_in().await);

    // Its time, unused and at all.
    let database = agent.database();
    database.execute("UPDATE sessions SET last_seen = last_seen - 7 * 86400 * 1000000 + 60000000", []).unwrap();
    assert!(page.signed_in().await, "used again within a week");
    database.execute("UPDATE sessions SET last_seen = last_seen - 7 * 86400 * 1000000", []).unwrap();
    assert!(!page.signed_in().await, "unused for a week");
    assert_eq!(page.log_in(&mut device).await.status, 200);
    database.execute("UPDATE sessions SET expires = expires - 30 * 86400 * 1000000", []).unwrap();
    assert!(!page.signed_in().await, "thirty days old");

    assert_eq!(page.log_in(&mut device).await.status, 200);
    let out = page.call("POST", "/credentials/logout", Value::Null).await;
    assert_eq!(out.status, 204, "{out:?}");
    assert!(out.header("set-cookie").unwrap().contains("max-age=0"));
    assert!(!page.signed_in().await);
    assert_eq!(page.log_in(&mut device).await.status, 200);
    let kept = page.cookie.clone();
    assert_eq!(page.call("DELETE", "/sessions", Value::Null).await.status, 204);
    page.cookie = kept;
    assert!(!page.signed_in().await);
}

#[tokio::test]
async fn another_sites_page_signs_nobody_out() {
    let agent = TestAgent::start().await;
    let mut page = Page::at(&agent, LOCAL);
    page.enrol(&mut Soft::new()).await;
    let cookie = page.cookie.clone().unwrap();
    for headers in [
        [("Cookie", cookie.as_str()), ("Origin", "http://evil.example")],
        [("Cookie", cookie.as_str()), ("Sec-Fetch-Site", "cross-site")],
        [("Cookie", cookie.as_str()), ("Sec-Fetch-Site", "same-site")],
    ] {
        let answer = agent.ask(&request("POST", "/credentials/logout", &headers, "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "wrong-origin"), "{headers:?}");
    }
    assert!(page.signed_in().await);
}
