//! `/hooks/{repo}` and `/services/{name}/hook`: what a forge gets for an answer, and what a stranger gets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use podkeeper::config::Config;
use podkeeper::names::{DeploymentId, HookKey, Scope};
use podkeeper::store::{DeploymentState, Desired, NewService, Settings, Source};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Answer, PATIENCE, TestAgent, request};

const MIB: usize = 1024 * 1024;

/// The body of a delivery as a forge's documentation shows it.
fn payload(file: &str) -> String {
    let path = format!("{}/tests/data/hooks/{file}.http", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.split_once("\n\n").unwrap().1.to_owned()
}

fn digest(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An agent with one service, and the key of its hook.
async fn agent() -> (TestAgent, HookKey) {
    agent_with(|_| {}).await
}

async fn agent_with(change: impl FnOnce(&mut Config)) -> (TestAgent, HookKey) {
    let agent = TestAgent::start_with(change).await;
    let key = HookKey::from_random([7; 32]).unwrap();
    let new = NewService {
        name: "blog".parse().unwrap(),
        source: Source::Template("static".parse().unwrap()),
        branch: "main".parse().unwrap(),
        branch_chosen: true,
        hook_key: key.clone(),
        settings: Settings::default(),
        max: 1,
    };
    agent.store.create_service(new).await.unwrap();
    (agent, key)
}

/// What GitHub sends.
fn github(key: &HookKey, event: &str, delivery: &str, body: &str) -> String {
    let signature = format!("sha256={}", hex(&digest(key.as_str().as_bytes(), body.as_bytes())));
    let headers = [
        ("Content-Type", "application/json"),
        ("X-GitHub-Event", event),
        ("X-GitHub-Delivery", delivery),
        ("X-Hub-Signature-256", &signature),
    ];
    request("POST", "/hooks/blog", &headers, body)
}

async fn hook(agent: &TestAgent) -> Value {
    let token = agent.token("hook", Scope::Admin, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let answer = agent.ask(&request("GET", "/services/blog/hook", &[("Authorization", &bearer)], "")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    serde_json::from_str(&answer.body).unwrap()
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn where_nobody_named_a_branch_a_push_to_any_has_the_repositorys_own_looked_for() {
    let (agent, key) = agent().await;
    let trunk = payload("github-push").replace("refs/heads/main", "refs/heads/trunk");
    let ignored = agent.ask(&github(&key, "push", "one", &trunk)).await;
    assert_eq!(ignored.status, 200, "{ignored:?}");
    let service = agent.store.service(&"blog".parse().unwrap()).await.unwrap();
    agent.store.follow_head(service.id).await.unwrap();
    let taken = agent.ask(&github(&key, "push", "two", &trunk)).await;
    assert_eq!(taken.status, 202, "{taken:?}");
    agent.store.found_head(service.id, &"main".parse().unwrap()).await.unwrap();
    assert_eq!(agent.ask(&github(&key, "push", "three", &trunk)).await.status, 200);
}

#[tokio::test]
async fn a_push_is_answered_with_its_deployment_and_again_with_the_same_one() {
    let (agent, key) = agent().await;
    let push = payload("github-push");
    let first = agent.ask(&github(&key, "push", "one", &push)).await;
    assert_eq!(first.status, 202, "{first:?}");
    let deployment = body(&first);
    assert_eq!((&deployment["cause"], &deployment["actor"]), (&json!("hook"), &json!("hook:github")));
    assert_eq!(first.header("location"), Some(format!("/deployments/{}", deployment["id"]).as_str()));
    let again = agent.ask(&github(&key, "push", "one", &push)).await;
    assert_eq!((again.status, again.header("location")), (202, first.header("location")));
    let other = agent.ask(&github(&key, "push", "two", &push)).await;
    assert_ne!(other.header("location"), first.header("location"));

    let ping = agent.ask(&github(&key, "ping", "three", &payload("github-ping"))).await;
    assert_eq!((ping.status, body(&ping)), (200, json!({ "ping": "blog" })));
    let tag = payload("github-tag");
    for _ in 0..2 {
        let ignored = agent.ask(&github(&key, "push", "four", &tag)).await;
        let why = "the tag `v1.0` was pushed, and `main` is deployed";
        assert_eq!((ignored.status, body(&ignored)), (200, json!({ "ignored": why })));
    }
    let refused = agent.ask(&github(&key, "push", "five", r#"{"ref": hunter2"#)).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "bad-request"));
    assert!(!refused.body.contains("hunter2"));

    let shown = hook(&agent).await;
    assert_eq!((&shown["url"], &shown["key"]), (&json!("http://localhost:7070/hooks/blog"), &json!(key.as_str())));
    let deliveries = shown["deliveries"].as_array().unwrap();
    let outcomes: Vec<_> = deliveries.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["refused", "ignored", "ping", "deployed", "deployed"]);
    assert_eq!((&deliveries[4]["deployment"], &deliveries[4]["id"]), (&deployment["id"], &json!("one")));
    assert!(deliveries[4]["state"].is_string() && deliveries[1]["reason"].is_string());
}

#[tokio::test]
async fn the_key_may_come_by_query_form_json_and_header_with_get_and_post() {
    let (agent, key) = agent().await;
    let text = key.as_str();
    let (form, json) = (("Content-Type", "application/x-www-form-urlencoded"), ("Content-Type", "application/json"));
    let bearer = format!("Bearer {text}");
    let basic = format!("Basic {}", STANDARD.encode(format!("podkeeper:{text}")));
    let query = format!("/hooks/blog?key={text}");
    let azure = payload("azure-push");
    let agents = ("User-Agent", "VSServices/19.225 (w3wp.exe)");
    for (method, path, headers, body) in [
        ("GET", query.as_str(), vec![], String::new()),
        ("POST", &query, vec![], String::new()),
        ("POST", "/hooks/blog", vec![form], format!("key={text}")),
        ("POST", "/hooks/blog", vec![json], format!(r#"{{"key":"{text}"}}"#)),
        ("GET", "/hooks/blog", vec![("Authorization", bearer.as_str())], String::new()),
        ("POST", "/hooks/blog", vec![("Authorization", bearer.as_str())], String::new()),
        ("POST", "/hooks/blog", vec![("Authorization", basic.as_str()), agents, json], azure),
        (
            "POST",
            "/hooks/blog",
            vec![("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", text)],
            payload("gitlab-push"),
        ),
    ] {
        let answer = agent.ask(&request(method, path, &headers, &body)).await;
        assert_eq!(answer.status, 202, "{method} {path} {headers:?}: {answer:?}");
    }
    // A key in JSON is read from small bodies only, which is said to whoever sends another; one in a header lets a large
    // payload through.
    let large = format!(r#"{{"key":"{text}","filler":"{}"}}"#, "x".repeat(64 * 1024));
    for path in ["/hooks/blog", "/hooks/none"] {
        let answer = agent.ask(&request("POST", path, &[json], &large)).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"), "{path}: {answer:?}");
        assert!(answer.body.contains("at most 64 KiB") && answer.body.contains("Authorization: Bearer"), "{answer:?}");
    }
    let with_header = [json, ("Authorization", bearer.as_str())];
    assert_eq!(agent.ask(&request("POST", "/hooks/blog", &with_header, &large)).await.status, 202);
    let other = agent.ask(&request("GET", &format!("{query}&ref=dev"), &[], "")).await;
    assert_eq!(other.status, 200, "{other:?}");

    let head = agent.ask(&request("HEAD", &query, &[], "")).await;
    assert_eq!((head.status, head.header("allow")), (405, Some("get, post, options")));
    assert_eq!(agent.ask(&request("PUT", &query, &[], "")).await.status, 405);
    let options = agent.ask(&request("OPTIONS", &query, &[], "")).await;
    assert_eq!((options.status, options.header("allow")), (204, Some("get, post, options")));
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_service_look_the_same() {
    let (agent, key) = agent().await;
    let wrong = HookKey::from_random([8; 32]).unwrap();
    let push = payload("github-push");
    let text = |answer: Answer| {
        let mut value = body(&answer);
        value["instance"].take();
        (answer.status, value)
    };
    let refused = text(agent.ask(&github(&wrong, "push", "one", &push)).await);
    assert_eq!(refused.0, 404);
    let elsewhere = github(&key, "push", "one", &push).replacen("/hooks/blog", "/hooks/none", 1);
    let unsigned = request("POST", "/hooks/blog", &[("X-GitHub-Event", "push")], &push);
    let beside = format!("/hooks/blog?key={}", key.as_str());
    let badly_signed =
        request("POST", &beside, &[("X-GitHub-Event", "push"), ("X-Hub-Signature-256", "sha256=00")], &push);
    let no_name = request("GET", &format!("/hooks/No%20Name?key={}", key.as_str()), &[], "");
    let no_key = request("GET", "/hooks/blog", &[], "");
    let short = request("GET", "/hooks/blog?key=w", &[], "");
    for asked in [elsewhere, unsigned, badly_signed, no_name, no_key, short] {
        assert_eq!(text(agent.ask(&asked).await), refused, "{}", asked.lines().next().unwrap());
    }
    // Its owner sees that somebody tried, in one row, and nobody else does.
    let all = hook(&agent).await["deliveries"].take();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    assert_eq!((&all[0]["outcome"], &all[0]["deployment"]), (&json!("refused"), &json!(null)));
    assert!(all[0]["reason"].as_str().unwrap().starts_with("wrong key, 5 times since "), "{all}");
}

#[tokio::test]
async fn strangers_push_no_delivery_out() {
    let (agent, key) = agent().await;
    agent.ask(&github(&key, "ping", "one", &payload("github-ping"))).await;
    for number in 0..60 {
        agent.ask(&request("GET", &format!("/hooks/blog?key={number}"), &[], "")).await;
    }
    let all = hook(&agent).await["deliveries"].take();
    let outcomes: Vec<_> = all.as_array().unwrap().iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["refused", "ping"]);
    assert!(all[0]["reason"].as_str().unwrap().starts_with("wrong key, 60 times"), "{all}");
}

#[tokio::test]
async fn what_is_stopped_is_not_started_and_says_so() {
    let (agent, key) = agent().await;
    agent.store.end_service(&"blog".parse().unwrap(), Desired::Stopped).await.unwrap();
    let push = payload("github-push");
    let ignored = agent.ask(&github(&key, "push", "one", &push)).await;
    let why = "`blog` is stopped; its newest commit is built when it is started";
    assert_eq!((ignored.status, body(&ignored)), (200, json!({ "ignored": why })));
    assert_eq!(hook(&agent).await["deliveries"][0]["outcome"], "ignored");
    // Delivered again when it is wanted, it is judged anew.
    agent.store.set_desired(&"blog".parse().unwrap(), Desired::Running).await.unwrap();
    assert_eq!(agent.ask(&github(&key, "push", "one", &push)).await.status, 202);
}

#[tokio::test]
async fn what_came_to_nothing_is_built_when_it_is_delivered_again() {
    let (agent, key) = agent().await;
    let push = payload("github-push");
    let ask = async || body(&agent.ask(&github(&key, "push", "one", &push)).await)["id"].as_i64().unwrap();
    let first = ask().await;
    assert_eq!(ask().await, first, "it is under way");
    agent.store.finish(DeploymentId(first), DeploymentState::Failed, None, None).await.unwrap();
    let second = ask().await;
    assert_ne!(second, first);
    agent.store.finish(DeploymentId(second), DeploymentState::Live, None, None).await.unwrap();
    assert_eq!(ask().await, second, "it is live");
    // One of another branch is, once that is the service's.
    let other = payload("github-push-other-branch");
    let ask = async || agent.ask(&github(&key, "push", "two", &other)).await;
    assert_eq!(ask().await.status, 200);
    agent.database().execute("UPDATE services SET branch = 'feature/x'", []).unwrap();
    assert_eq!(ask().await.status, 202);
}

#[tokio::test]
async fn a_push_whose_newest_message_has_a_mark_is_ignored_and_says_so() {
    let (agent, key) = agent().await;
    let push = payload("github-push").replace("\"message\": \"", "\"message\": \"[skip ci] ");
    let ignored = agent.ask(&github(&key, "push", "one", &push)).await;
    let why = "the newest commit's message has `[skip ci]`";
    assert_eq!((ignored.status, body(&ignored)), (200, json!({ "ignored": why })));
    agent
        .database()
        .execute("UPDATE services SET settings = json_set(settings, '$.skip_marks', json('false'))", [])
        .unwrap();
    assert_eq!(agent.ask(&github(&key, "push", "one", &push)).await.status, 202);
}

#[tokio::test]
async fn a_new_key_kills_the_old_one_at_once() {
    let (agent, key) = agent().await;
    let token = agent.token("admin", Scope::Admin, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let rotated = agent.ask(&request("POST", "/services/blog/hook/rotate", &headers, "")).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let new: HookKey = body(&rotated)["key"].as_str().unwrap().parse().unwrap();
    assert_ne!(new, key);
    let push = payload("github-push");
    assert_eq!(agent.ask(&github(&key, "push", "one", &push)).await.status, 404);
    assert_eq!(agent.ask(&github(&new, "push", "one", &push)).await.status, 202);

    // The one that a forge made: GitLab's signing token.
    let own = r#"{"key":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}"#;
    let rotated = agent.ask(&request("POST", "/services/blog/hook/rotate", &headers, own)).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let push = payload("gitlab-push");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    for (at, status) in [(now - 4000, 404), (now + 4000, 404), (now, 202)] {
        let signature = STANDARD.encode(digest(&key, format!("msg_1.{at}.{push}").as_bytes()));
        let (signature, at) = (format!("v1,{signature}"), at.to_string());
        let headers = [
            ("X-Gitlab-Event", "Push Hook"),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", &at),
            ("webhook-signature", &signature),
        ];
        assert_eq!(agent.ask(&request("POST", "/hooks/blog", &headers, &push)).await.status, status, "{at}");
    }
    for bad in [r#"{"key":"short"}"#, r#"{"key":"a\nb-that-is-long-enough-to-be-one"}"#] {
        let answer = agent.ask(&request("POST", "/services/blog/hook/rotate", &headers, bad)).await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "invalid-setting"), "{bad}");
    }
    let query = agent.ask(&request("POST", "/services/blog/hook/rotate?key=x", &headers, "")).await;
    assert_eq!(query.status, 400);
}

/// A push with so much of something else in it.
fn large_push(length: usize) -> String {
    let push = payload("github-push");
    format!("{{\"filler\":\"{}\",{}", "x".repeat(length - push.len()), push.trim_start().trim_start_matches('{'))
}

#[tokio::test(flavor = "multi_thread")]
async fn large_payloads_are_taken_up_to_a_bound_and_within_one_budget() {
    let (agent, key) = agent_with(|config| config.limits.body_timeout = PATIENCE).await;
    for (id, length) in [("a", MIB + 1), ("b", 24 * MIB)] {
        let answer = agent.ask(&github(&key, "push", id, &large_push(length))).await;
        assert_eq!(answer.status, 202, "{length}: {answer:?}");
    }
    let head = "POST /hooks/blog HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-GitHub-Event: push\r\n";
    let signed = format!("{head}X-Hub-Signature-256: sha256=00\r\n");
    let too_large = agent.ask(&format!("{signed}Content-Length: {}\r\n\r\n", 25 * MIB + 1)).await;
    assert_eq!((too_large.status, too_large.code().as_str()), (413, "payload-too-large"));

    // Those who pretend to sign hold at most the budget: 69 of 64 MiB make one of them go.
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(agent.served.address).await.unwrap();
        let head = format!("{signed}Content-Length: {}\r\n\r\n", 25 * MIB);
        held.spawn(async move {
            let (mut reader, mut writer) = stream.split();
            writer.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let write = async {
                // It may be closed in the middle.
                let _ = writer.write_all(&vec![b'x'; 23 * MIB]).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = write => {}
                _ = reader.read_to_end(&mut answer) => {}
            }
            answer
        });
    }
    let answer = tokio::time::timeout(PATIENCE, held.join_next()).await.unwrap().unwrap();
    let answer = Answer::parse(&String::from_utf8_lossy(&answer.unwrap()));
    assert_eq!((answer.status, answer.code().as_str()), (503, "busy"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    // What is small goes through all the same.
    assert_eq!(agent.ask(&github(&key, "push", "c", &payload("github-push"))).await.status, 202);
}
