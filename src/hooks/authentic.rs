//! Whether a service's key authorises a delivery: by a signature over the bytes as they came, or, where there is none,
//! by the key itself. Every comparison takes the same time for right and wrong.

use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::delivery::{Delivery, Headers, KEYED_BODY, Sender, is_form};
use crate::names::HookKey;

/// How far a signed timestamp may be from our clock, in seconds (Standard Webhooks: five minutes).
const WINDOW: u64 = 300;

/// What a sender signs with.
enum Signature<'a> {
    /// HMAC-SHA256 of the body, in hexadecimal digits.
    Hex(&'a str),
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature` of the Standard Webhooks.
    Standard { id: &'a str, timestamp: &'a str, signatures: &'a str },
}

impl<'a> Signature<'a> {
    /// Only the sender's own header counts: another one may be made by another rule.
    fn of(sender: Sender, headers: &'a Headers) -> Option<Self> {
        // Without its prefix it is a digest that we don't know, which no key makes.
        let prefixed = |name| Some(Self::Hex(headers.get(name)?.strip_prefix("sha256=").unwrap_or_default()));
        match sender {
            Sender::Forgejo => headers.get("x-forgejo-signature").map(Self::Hex),
            Sender::Gitea => headers.get("x-gitea-signature").map(Self::Hex),
            Sender::Gogs => headers.get("x-gogs-signature").map(Self::Hex),
            Sender::GitHub => prefixed("x-hub-signature-256"),
            Sender::BitbucketCloud | Sender::BitbucketServer => prefixed("x-hub-signature"),
            Sender::GitLab => Self::standard(headers),
            Sender::Generic => Self::standard(headers).or_else(|| prefixed("x-hub-signature-256")),
            Sender::Azure => None,
        }
    }

    /// GitLab sends id and timestamp with each delivery, and the signature only where it has a signing token.
    fn standard(headers: &'a Headers) -> Option<Self> {
        let signatures = headers.get("webhook-signature")?;
        let id = headers.get("webhook-id").unwrap_or_default();
        let timestamp = headers.get("webhook-timestamp").unwrap_or_default();
        Some(Self::Standard { id, timestamp, signatures })
    }

    fn is_good(&self, key: &HookKey, body: impl Read, now: Timestamp) -> io::Result<bool> {
        Ok(match self {
            Self::Hex(digits) => {
                let wanted = digest(key.as_str().as_bytes(), &[], body)?;
                let given = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).unwrap_or_default();
                bool::from(wanted.as_slice().ct_eq(&given))
            }
            Self::Standard { id, timestamp, signatures } => {
                let before: [&[u8]; 4] = [id.as_bytes(), b".", timestamp.as_bytes(), b"."];
                let wanted = digest(&key.signing_bytes(), &before, body)?;
                // Several while the sender changes its key.
                let given = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,"));
                let good = given.fold(Choice::from(0), |good, one| {
                    good | wanted.as_slice().ct_eq(&STANDARD.decode(one).unwrap_or_default())
                });
                let fresh = timestamp.parse::<i64>().is_ok_and(|at| at.abs_diff(now.as_second()) <= WINDOW);
                bool::from(good) && fresh
            }
        })
    }
}

fn digest(key: &[u8], before: &[&[u8]], mut body: impl Read) -> io::Result<[u8; 32]> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Ok([0; 32]) };
    for part in before {
        mac.update(part);
    }
    let mut piece = [0; 8192];
    loop {
        match body.read(&mut piece) {
            Ok(0) => return Ok(mac.finalize().into_bytes().into()),
            Ok(n) => mac.update(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Texts of different lengths take the same time, too.
fn same(given: &str, key: &HookKey) -> Choice {
    Sha256::digest(given.as_bytes()).as_slice().ct_eq(Sha256::digest(key.as_str().as_bytes()).as_slice())
}

/// Whether whoever sent this knows `key`. A signature that is there must be good: the key beside it isn't looked at.
#[must_use]
pub fn authorises(key: &HookKey, sender: Sender, delivery: Delivery<'_>, now: Timestamp) -> bool {
    if let Some(signature) = Signature::of(sender, delivery.headers) {
        // Bytes in memory are always read.
        return signature.is_good(key, delivery.body, now).unwrap_or(false);
    }
    let mut good = Choice::from(0);
    // The first alone: with many of them each request would be as many guesses.
    if let Some((_, given)) = form_urlencoded::parse(delivery.query.as_bytes()).find(|(name, _)| name == "key") {
        good |= same(&given, key);
    }
    if sender == Sender::GitLab
        && let Some(token) = delivery.headers.get("x-gitlab-token")
    {
        good |= same(token, key);
    }
    if let Some(given) = delivery.headers.get("authorization").and_then(credential) {
        good |= same(&given, key);
    }
    if let Some(given) = keyed(delivery) {
        good |= same(&given, key);
    }
    good.into()
}

/// The same for a body that is too large to be held for somebody who only says that he signs it: `head` has none.
pub fn authorises_whole(
    key: &HookKey,
    sender: Sender,
    head: Delivery<'_>,
    body: impl Read,
    now: Timestamp,
) -> io::Result<bool> {
    match Signature::of(sender, head.headers) {
        Some(signature) => signature.is_good(key, body, now),
        None => {
            let mut bytes = Vec::new();
            body.take(KEYED_BODY as u64 + 1).read_to_end(&mut bytes)?;
            Ok(authorises(key, sender, Delivery { body: &bytes, ..head }, now))
        }
    }
}

/// Whether a delivery is signed, so that only its whole body tells who sent it.
#[must_use]
pub fn is_signed(sender: Sender, headers: &Headers) -> bool {
    Signature::of(sender, headers).is_some()
}

/// A bearer token, or the password of Basic authentication, which is what some forges can send.
fn credential(header: &str) -> Option<String> {
    let (scheme, value) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// The field `key` of a small form or JSON object.
fn keyed(delivery: Delivery<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Keyed {
        key: String,
    }
    if delivery.body.len() > KEYED_BODY {
        return None;
    }
    if is_form(delivery.headers) {
        let field = form_urlencoded::parse(delivery.body).find(|(name, _)| name == "key");
        return field.map(|(_, value)| value.into_owned());
    }
    serde_json::from_slice::<Keyed>(delivery.body).ok().map(|keyed| keyed.key)
}
