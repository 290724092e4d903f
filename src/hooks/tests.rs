//! Each file of `tests/data/hooks` is a delivery as a forge's documentation shows it: what is expected of it (`## …`),
//! its headers, its body.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::names::{DeliveryId, HookKey, NameError};

struct Case {
    file: String,
    expected: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hooks");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let pair = |line: &str, between| {
            let (name, value) = line.split_once(between).unwrap();
            (name.to_owned(), value.to_owned())
        };
        let expected = head.lines().filter_map(|line| line.strip_prefix("## ")).map(|line| pair(line, " ")).collect();
        let headers = head.lines().filter(|line| !line.starts_with("## ")).map(|line| pair(line, ": ")).collect();
        let file = entry.file_name().to_string_lossy().into_owned();
        cases.push(Case { file, expected, headers, body: body.into() });
    }
    assert!(cases.len() >= 35, "there are {} cases", cases.len());
    cases
}

fn key() -> HookKey {
    HookKey::from_random([7; 32]).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap()
}

fn delivery<'a>(headers: &'a Headers, body: &'a [u8]) -> Delivery<'a> {
    Delivery { headers, query: "", body }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The headers that a sender signs with.
fn signed(sender: Sender, key: &HookKey, body: &[u8]) -> Vec<(String, String)> {
    let digest = hex(&hmac(key.as_str().as_bytes(), body));
    let one = |name: &str, value: String| vec![(name.to_owned(), value)];
    match sender {
        Sender::GitHub => one("X-Hub-Signature-256", format!("sha256={digest}")),
        Sender::Gitea => one("X-Gitea-Signature", digest),
        Sender::Forgejo => one("X-Forgejo-Signature", digest),
        Sender::Gogs => one("X-Gogs-Signature", digest),
        Sender::BitbucketCloud | Sender::BitbucketServer => one("X-Hub-Signature", format!("sha256={digest}")),
        Sender::GitLab | Sender::Generic => standard(key, now().as_second(), body),
        Sender::Azure => one("Authorization", format!("Basic {}", STANDARD.encode(format!("any:{}", key.as_str())))),
    }
}

fn standard(key: &HookKey, at: i64, body: &[u8]) -> Vec<(String, String)> {
    let text = [format!("msg_1.{at}.").as_bytes(), body].concat();
    let signature = STANDARD.encode(hmac(&key.signing_bytes(), &text));
    vec![
        ("webhook-id".into(), "msg_1".into()),
        ("webhook-timestamp".into(), at.to_string()),
        ("webhook-signature".into(), format!("v1,b2xk v1,{signature} v2,bmV3")),
    ]
}

#[test]
fn what_the_forges_document_is_read_as_they_mean_it() {
    let main = "main".parse().unwrap();
    for case in cases() {
        let headers: Headers = case.headers.iter().cloned().collect();
        let sender = Sender::of(&headers);
        assert_eq!(sender.as_str(), case.expected["sender"], "{}", case.file);
        let told =
            read(sender, delivery(&headers, &case.body)).unwrap_or_else(|error| panic!("{}: {error}", case.file));
        assert_eq!(told.event.as_str(), case.expected["event"], "{}", case.file);
        assert_eq!(
            told.id.as_ref().map(DeliveryId::as_str),
            case.expected.get("id").map(String::as_str),
            "{}",
            case.file
        );
        let decided = match decide(&told, &main, true) {
            Decision::Build(_) => "build".to_owned(),
            Decision::Ping => "ping".to_owned(),
            Decision::Ignore(why) => format!("ignore {why}"),
        };
        assert_eq!(decided, case.expected["main"], "{}", case.file);
    }
}

/// What each forge's push of `main` says of its newest commit, in whose message a mark is put.
#[test]
fn a_mark_in_the_newest_commits_message_is_seen_at_every_forge_that_tells_messages() {
    let main = "main".parse().unwrap();
    let mut seen = Vec::new();
    for case in cases().into_iter().filter(|case| case.expected["main"] == "build") {
        let headers: Headers = case.headers.iter().cloned().collect();
        let sender = Sender::of(&headers);
        let text = String::from_utf8(case.body).unwrap();
        let marked = text
            .replace("\"message\": \"", "\"message\": \"[ci skip] ")
            .replace("\"comment\": \"", "\"comment\": \"[ci skip] ");
        if marked == text {
            continue;
        }
        let told = read(sender, delivery(&headers, marked.as_bytes())).unwrap();
        let ignored = Decision::Ignore("the newest commit's message has `[ci skip]`".into());
        assert_eq!(decide(&told, &main, true), ignored, "{}", case.file);
        assert!(matches!(decide(&told, &main, false), Decision::Build(Some(_))), "{}", case.file);
        let told = read(sender, delivery(&headers, text.as_bytes())).unwrap();
        assert!(matches!(decide(&told, &main, true), Decision::Build(Some(_))), "{}", case.file);
        seen.push(sender.as_str());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["azure-devops", "bitbucket-cloud", "forgejo", "gitea", "github", "gitlab", "gogs"]);
}

#[test]
fn each_forges_signature_is_good_for_its_key_and_its_bytes_only() {
    for case in cases() {
        let unsigned: Headers = case.headers.iter().cloned().collect();
        let sender = Sender::of(&unsigned);
        let headers: Headers = case.headers.iter().cloned().chain(signed(sender, &key(), &case.body)).collect();
        let good =
            |key: &HookKey, headers: &Headers, body: &[u8]| authorises(key, sender, delivery(headers, body), now());
        assert!(good(&key(), &headers, &case.body), "{}", case.file);
        assert!(!good(&HookKey::from_random([8; 32]).unwrap(), &headers, &case.body), "{}", case.file);
        assert!(!good(&key(), &unsigned, &case.body), "{}", case.file);
        if sender != Sender::Azure {
            assert!(!good(&key(), &headers, &[&case.body[..], b" "].concat()), "{}", case.file);
        }
        // Another forge's signature, or an old digest, is none of this one's.
        let weak: Headers =
            case.headers.iter().cloned().chain([("x-hub-signature".into(), "sha1=00".into())]).collect();
        assert!(!good(&key(), &weak, &case.body), "{}", case.file);
    }
}

#[test]
fn the_published_vectors() {
    let secret: HookKey = "It's a Secret to Everybody".parse().unwrap();
    // GitHub's "Validating webhook deliveries".
    let github: Headers = [
        ("X-GitHub-Event", "push"),
        ("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    ]
    .into_iter()
    .collect();
    assert!(authorises(&secret, Sender::GitHub, delivery(&github, b"Hello, World!"), now()));
    assert!(!authorises(&secret, Sender::GitHub, delivery(&github, b"Hello, World"), now()));
    // Bitbucket Cloud's "Manage webhooks".
    let bitbucket: Headers = [
        ("X-Event-Key", "repo:push"),
        ("X-Hub-Signature", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"),
    ]
    .into_iter()
    .collect();
    assert!(authorises(&secret, Sender::BitbucketCloud, delivery(&bitbucket, b"Hello World!"), now()));
    // The Standard Webhooks' own.
    let secret: HookKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
    let standard: Headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]
    .into_iter()
    .collect();
    let then = Timestamp::from_second(1_614_265_330).unwrap();
    let body = br#"{"test": 2432232314}"#;
    for sender in [Sender::Generic, Sender::GitLab] {
        assert!(authorises(&secret, sender, delivery(&standard, body), then));
        assert!(!authorises(&secret, sender, delivery(&standard, body), now()));
    }
}

#[test]
fn a_signed_timestamp_has_a_window_of_five_minutes() {
    for (seconds, good) in [(0, true), (299, true), (-299, true), (301, false), (-301, false), (i64::MIN / 2, false)] {
        let headers: Headers = standard(&key(), now().as_second() + seconds, b"{}").into_iter().collect();
        assert_eq!(authorises(&key(), Sender::GitLab, delivery(&headers, b"{}"), now()), good, "{seconds}");
    }
    let mut headers = standard(&key(), now().as_second(), b"{}");
    headers.retain(|(name, _)| name != "webhook-timestamp");
    assert!(!authorises(&key(), Sender::Generic, delivery(&headers.into_iter().collect(), b"{}"), now()));
}

#[test]
fn the_key_itself_authorises_wherever_it_may_stand_and_never_beside_a_signature() {
    let text = key().as_str().to_owned();
    let none = Headers::default();
    let with = |name: &str, value: String| -> Headers { [(name, value)].into_iter().collect() };
    let good = |sender, headers: &Headers, query: &str, body: &[u8]| {
        authorises(&key(), sender, Delivery { headers, query, body }, now())
    };
    assert!(good(Sender::Generic, &none, &format!("key={text}"), b""));
    assert!(good(Sender::Azure, &none, &format!("a=b&key={text}"), b"{}"));
    assert!(good(Sender::Generic, &with("Authorization", format!("bearer {text}")), "", b""));
    let basic = format!("Basic {}", STANDARD.encode(format!("x:{text}")));
    assert!(good(Sender::BitbucketServer, &with("Authorization", basic), "", b""));
    assert!(good(Sender::GitLab, &with("X-Gitlab-Token", text.clone()), "", b""));
    assert!(!good(Sender::GitHub, &with("X-Gitlab-Token", text.clone()), "", b""));
    let form = with("Content-Type", "application/x-www-form-urlencoded; charset=utf-8".into());
    assert!(good(Sender::Generic, &form, "", format!("ref=main&key={text}").as_bytes()));
    assert!(good(Sender::Generic, &none, "", format!(r#"{{"ref":"main","key":"{text}"}}"#).as_bytes()));
    // An empty signature is what a forge without a secret sends.
    assert!(good(Sender::Gitea, &with("X-Gitea-Signature", String::new()), &format!("key={text}"), b""));
    assert!(!good(Sender::Gitea, &with("X-Gitea-Signature", "00".into()), &format!("key={text}"), b""));
    let large = format!(r#"{{"key":"{text}","filler":"{}"}}"#, "x".repeat(KEYED_BODY));
    assert!(!good(Sender::Generic, &none, "", large.as_bytes()));
    for wrong in [
        "",
        "key=",
        "key=whsec_",
        &format!("key=x&key={text}"),
        &format!("key={text}x"),
        &format!("key={}", &text[1..]),
        "KEY=x",
    ] {
        assert!(!good(Sender::Generic, &none, wrong, b""), "{wrong}");
    }
}

#[test]
fn what_no_forge_sends_is_refused_without_repeating_it() {
    for case in cases() {
        let headers: Headers = case.headers.iter().cloned().collect();
        let sender = Sender::of(&headers);
        let told = read(sender, delivery(&headers, b"hunter2"));
        match told {
            Err(error) => assert!(!error.to_string().contains("hunter2"), "{}: {error}", case.file),
            // These don't need their body.
            Ok(told) => assert_ne!(told.event.as_str(), "push", "{}", case.file),
        }
    }
    let long: Headers =
        [("x-github-event", "ping".to_owned()), ("x-github-delivery", "x".repeat(201))].into_iter().collect();
    assert_eq!(read(Sender::GitHub, delivery(&long, b"{}")), Err(HookError::Id(NameError::DeliveryId)));
}

/// What decides which parser reads a delivery.
fn heads() -> impl Strategy<Value = Vec<(String, String)>> {
    let all: Vec<_> = cases().into_iter().map(|case| case.headers).collect();
    const CONTENT_TYPES: &[&str] = &["application/json", "application/x-www-form-urlencoded", "text/plain", ""];
    (proptest::sample::select(all), proptest::sample::select(CONTENT_TYPES)).prop_map(|(headers, content_type)| {
        std::iter::once(("content-type".to_owned(), content_type.to_owned())).chain(headers).collect()
    })
}

/// A forge's payload with some of its bytes changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<_> = cases().into_iter().map(|case| case.body).collect();
    let damage = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8);
    (proptest::sample::select(all), damage, any::<proptest::sample::Index>()).prop_map(|(mut body, damage, end)| {
        for (at, byte) in damage {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        body.truncate(end.index(body.len() + 1));
        body
    })
}

proptest! {
    #[test]
    fn no_bytes_bring_a_parser_down_or_grow_an_answer(
        head in heads(),
        body in prop_oneof![damaged(), proptest::collection::vec(any::<u8>(), 0..200)],
        query in ".{0,60}",
    ) {
        let headers: Headers = head.into_iter().collect();
        let sender = Sender::of(&headers);
        let delivery = Delivery { headers: &headers, query: &query, body: &body };
        prop_assert!(!authorises(&key(), sender, delivery, now()));
        match read(sender, delivery) {
            Ok(told) => if let Decision::Ignore(why) = decide(&told, &"main".parse().unwrap(), true) {
                prop_assert!(why.len() < 1000 && !why.chars().any(char::is_control));
            },
            Err(error) => prop_assert!(error.to_string().len() < 200),
        }
    }

    #[test]
    fn any_header_is_taken_as_it_comes(name in "[a-zA-Z-]{1,20}", value in "[ -~]{0,300}") {
        let headers: Headers = [(name, value.clone()), ("authorization".into(), value)].into_iter().collect();
        let sender = Sender::of(&headers);
        let good = authorises(&key(), sender, delivery(&headers, b"{}"), now());
        prop_assert!(!good);
        let _ = read(sender, delivery(&headers, b"{}"));
    }

    #[test]
    fn a_branch_of_any_name_is_the_services_own_or_another(name in "[a-z0-9/._-]{1,30}", gone in any::<bool>()) {
        let commit = if gone { "0".repeat(40) } else { "1".repeat(40) };
        let body = serde_json::json!({ "ref": format!("refs/heads/{name}"), "after": commit }).to_string();
        for sender in [Sender::GitHub, Sender::Gitea, Sender::Forgejo, Sender::Gogs] {
            let header = (format!("x-{}-event", sender.as_str()), "push");
            let headers: Headers = [header].into_iter().collect();
            let told = read(sender, delivery(&headers, body.as_bytes())).unwrap();
            let decided = decide(&told, &"main".parse().unwrap(), true);
            prop_assert_eq!(matches!(decided, Decision::Build(Some(_))), name == "main" && !gone);
        }
    }

    #[test]
    fn what_is_signed_is_good_and_one_changed_byte_is_not(
        body in proptest::collection::vec(any::<u8>(), 1..300), at in any::<proptest::sample::Index>()
    ) {
        for sender in [Sender::GitHub, Sender::Gitea, Sender::GitLab, Sender::BitbucketServer, Sender::Generic] {
            let headers: Headers = signed(sender, &key(), &body).into_iter().collect();
            prop_assert!(authorises(&key(), sender, delivery(&headers, &body), now()));
            let mut other = body.clone();
            let at = at.index(body.len());
            other[at] ^= 1;
            prop_assert!(!authorises(&key(), sender, delivery(&headers, &other), now()));
        }
    }
}
