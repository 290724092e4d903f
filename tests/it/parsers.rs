//! What is read from outside, fed with anything: each parser takes it or refuses it, and what it takes is what it
//! promises.

use std::net::IpAddr;
use std::path::Path;

use http::{HeaderValue, Request};
use podkeeper::auth::{Auth, Peer, Presented, Site};
use podkeeper::config::{Config, LiveConfig};
use podkeeper::events::Events;
use podkeeper::names::{
    Actor, BranchName, CommitId, DeploymentId, EnvKey, HostName, ReleaseNumber, RepoUri, Scope, ServiceName,
    TemplateName, VolumeName,
};
use podkeeper::store::Store;
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::support::{TestAgent, request};

/// Texts near to names: what an attacker tries, and anything.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9-]{0,45}",
        "[A-Za-z0-9_./@~^:{}\\\\ -]{0,60}",
        "(token|passkey|local|agent|git-password):?[a-z0-9:]{0,20}",
        "[0-9+]{0,25}",
        "[0-9a-f]{38,66}",
        any::<String>(),
    ]
}

/// What is taken reads back as it was written, and holds nothing but these characters.
fn holds<T: std::str::FromStr + ToString>(text: &str, most: usize, allowed: fn(char) -> bool) {
    if let Ok(name) = text.parse::<T>() {
        assert_eq!(name.to_string(), text);
        assert!((1..=most).contains(&text.len()) && text.chars().all(allowed), "{text:?}");
        assert!(!text.starts_with('-'), "{text:?}");
    }
}

fn label(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

proptest! {
    #[test]
    fn names(text in texts()) {
        holds::<ServiceName>(&text, 40, label);
        holds::<TemplateName>(&text, 40, label);
        holds::<VolumeName>(&text, 40, label);
        holds::<CommitId>(&text, 64, |c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
        holds::<EnvKey>(&text, 200, |c| !c.is_whitespace() && !c.is_control() && !"=,\"'\\%$\u{202e}".contains(c));
        holds::<HostName>(&text, 253, |c| label(c) || c == '.');
        holds::<BranchName>(&text, 200, |c| !c.is_ascii_control() && !" ~^:?*[\\".contains(c));
        holds::<ReleaseNumber>(&text, 10, |c| c.is_ascii_digit());
        holds::<DeploymentId>(&text, 19, |c| c.is_ascii_digit());
        holds::<Scope>(&text, 6, |c| c.is_ascii_lowercase());
        if let Ok(branch) = text.parse::<BranchName>() {
            let parts: Vec<&str> = branch.as_str().split('/').collect();
            prop_assert!(parts.iter().all(|part| !["", ".", ".."].contains(part)), "{branch}");
        }
        if let Ok(actor) = text.parse::<Actor>() {
            prop_assert_eq!(actor.to_string().parse::<Actor>().unwrap(), actor);
        }
    }

    #[test]
    fn addresses_of_repositories(
        text in prop_oneof![
            "(https?|ssh|git|file|ext)://[a-z0-9@:%.\\[\\]-]{0,30}/[A-Za-z0-9%./~-]{0,30}",
            "[a-z-]{1,8}@[a-z.-]{1,12}:[a-z/.-]{1,12}",
            any::<String>(),
        ],
    ) {
        if let Ok((uri, secret)) = RepoUri::parse(&text) {
            let shown = uri.to_string();
            prop_assert!(["https://", "http://", "ssh://", "git://"].iter().any(|head| shown.starts_with(head)));
            prop_assert!(!uri.host().starts_with('-') && !uri.host().is_empty(), "{shown}");
            // What is kept and what git is given has no secret any more, and git is told two lines of one.
            prop_assert!(RepoUri::stored(&shown, secret.is_some()).unwrap() == uri, "{shown}");
            let (_, kept) = RepoUri::parse(uri.address()).unwrap();
            prop_assert!(kept.is_none(), "{shown}");
            if let Some(told) = secret.and_then(|secret| uri.credential(&secret)) {
                prop_assert!(told.expose_secret().lines().count() == 2, "{shown}");
            }
        }
    }

    #[test]
    fn configurations(
        text in prop_oneof![
            "\\[(listen|builds|services|git|limits)\\]\n[a-z_]{2,20} = (\"[a-z0-9:/{}.]{0,20}\"|-?[0-9]{1,12}|true|\\[\\])\n",
            any::<String>(),
        ],
    ) {
        if let Err(error) = Config::parse(&text, Path::new("podkeeper.toml")) {
            prop_assert!(error.to_string().contains("podkeeper.toml"));
        }
    }

    #[test]
    fn heads_of_requests(
        cookie in proptest::collection::vec(any::<u8>(), 0..80),
        value in "[a-z2-7]{1,60}",
        before in "([a-z]{1,5}=[a-z]{0,5}; ?){0,3}",
        origin in prop_oneof!["https?://[a-z.:0-9]{0,20}", any::<String>()],
        forwarded in prop_oneof!["([0-9.:a-f]{1,15}, ?){0,4}", any::<String>()],
        client in any::<[u8; 4]>(),
    ) {
        let header = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
        let build = |headers: Vec<(&str, HeaderValue)>| {
            let request = Request::builder().method("POST").uri("/services");
            let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
            Presented::read(&request.body(()).unwrap(), Peer::Network([127, 0, 0, 1].into()))
        };
        // Any bytes that HTTP carries.
        if let Ok(any) = HeaderValue::from_bytes(&cookie) {
            let all = ["cookie", "authorization", "origin", "host", "sec-fetch-site", "x-forwarded-for"];
            let presented = build(all.iter().map(|name| (*name, any.clone())).collect());
            prop_assert!(presented.authorization.is_some());
        }
        // Our cookie is found behind any others.
        let ours = format!("{before}{}={value}", Site::COOKIES[0].0);
        let presented = build(vec![("cookie", header(&ours).unwrap())]);
        prop_assert_eq!(presented.cookie.as_deref(), Some(value.as_str()));

        let auth = trusting();
        // A page of another site is refused, however it writes its origin.
        if let Some(origin) = header(&origin) {
            let presented = build(vec![("origin", origin), ("host", header("pods.example.com").unwrap())]);
            let ours = presented.origin.as_deref() == Some("https://pods.example.com");
            prop_assert!(ours || auth.same_origin(&presented).is_err(), "{:?}", presented.origin);
        }
        // What a trusted proxy appended is the client, whatever the client itself had written.
        let client = IpAddr::from(client);
        if let (Some(forwarded), true) = (header(&format!("{forwarded}, {client}")), !client.is_loopback()) {
            prop_assert_eq!(auth.address(&build(vec![("x-forwarded-for", forwarded)])), Some(client));
        }
    }
}

/// For the dashboard `https://pods.example.com` behind a proxy on this machine. Its store is not asked for anything.
fn trusting() -> &'static Auth {
    static AUTH: std::sync::OnceLock<Auth> = std::sync::OnceLock::new();
    AUTH.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.listen.public_url = "https://pods.example.com".parse().unwrap();
        config.listen.trusted_proxies = vec![[127, 0, 0, 1].into()];
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        Auth::new(store, Events::new(), LiveConfig::new(config))
    })
}

/// JSON near to what the interface takes.
fn bodies() -> impl Strategy<Value = String> {
    let keys = "(env|replace|restart|template|external|password|scope|name|keep|volumes|x)";
    let values = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,20}",
        "\"[A-Za-z0-9 :/.@-]{0,30}\"",
        "\\{\"[A-Z_a-z0-9-]{0,8}\":(\"[a-z]{0,5}\"|null|1|\\{\\})\\}",
        "\\[(1|null|\"x\")?\\]",
    ];
    let field = (keys, values).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let object = proptest::collection::vec(field, 0..4).prop_map(|fields| format!("{{{}}}", fields.join(",")));
    prop_oneof![4 => object, 1 => "[\\[\\]{}\":,a-z0-9\\\\]{0,40}"]
}

#[test]
fn bodies_and_queries() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let agent = runtime.block_on(TestAgent::start());
    let token = runtime.block_on(agent.token("any", Scope::Admin, None));
    runtime.block_on(agent.service("some"));
    let bearer = format!("Bearer {}", secrecy::ExposeSecret::expose_secret(&token));
    const ROUTES: [(&str, &str); 7] = [
        ("PUT", "/services/some"),
        ("PATCH", "/services/some"),
        ("POST", "/services/some/env/update"),
        ("POST", "/services/some/restart"),
        ("POST", "/credentials/tokens"),
        ("GET", "/services/some/logs"),
        ("GET", "/audit"),
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        max_shrink_iters: 32,
        ..ProptestConfig::default()
    });
    let inputs = (proptest::sample::select(&ROUTES[..]), bodies(), "[a-z0-9=&%+.-]{0,40}", any::<bool>());
    let looked = runner.run(&inputs, |((method, path), body, query, form)| {
        let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        let answer = runtime.block_on(agent.ask(&request(method, &format!("{path}?{query}"), &headers, &body)));
        // 503: this agent has no host.
        prop_assert!(answer.status < 500 || answer.status == 503, "{method} {path}?{query} {body}: {answer:?}");
        prop_assert!(answer.status < 400 || !answer.code().is_empty(), "{answer:?}");
        Ok(())
    });
    looked.unwrap();
}
