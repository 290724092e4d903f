//! Tokens, the git password, limits and the audit log, over HTTP.

use std::num::NonZeroU32;

use podkeeper::names::Scope;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::support::{Answer, TestAgent, request};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or(Value::Null)
}

async fn ask(agent: &TestAgent, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let text = if body.is_null() { String::new() } else { body.to_string() };
    agent.ask(&request(method, path, &[("Authorization", &bearer), JSON], &text)).await
}

fn basic(password: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("anybody:{password}").as_bytes()))
}

const REFS: &str = "/git/some.git/info/refs?service=git-upload-pack";

#[tokio::test]
async fn a_token_is_made_shown_once_listed_and_removed() {
    let agent = TestAgent::start().await;
    agent.service("blog").await;
    let admin = agent.token("admin", Scope::Admin, None).await;
    let admin = admin.expose_secret();
    for (new, status, code) in [
        (json!({"name": "ci"}), 400, "bad-request"),
        (json!({"name": "ci", "scope": "root"}), 400, "bad-request"),
        (json!({"name": "c i", "scope": "read"}), 422, "invalid-name"),
        (json!({"name": "ci", "scope": "read", "service": "none"}), 404, "not-found"),
        (json!({"name": "ci", "scope": "read", "expires": "2001-01-01T00:00:00Z"}), 422, "invalid-setting"),
        (json!({"name": "ci", "scope": "read", "expires": "soon"}), 400, "bad-request"),
        (json!({"name": "admin", "scope": "read"}), 409, "conflict"),
    ] {
        let answer = ask(&agent, admin, "POST", "/credentials/tokens", &new).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{new}: {answer:?}");
    }
    let new = json!({"name": "ci", "scope": "deploy", "service": "blog", "expires": "2099-01-01T00:00:00Z"});
    let created = ask(&agent, admin, "POST", "/credentials/tokens", &new).await;
    assert_eq!(created.status, 201, "{created:?}");
    let token = body(&created)["token"].as_str().unwrap().to_owned();

    assert_eq!(ask(&agent, &token, "GET", "/services/blog/deployments", &Value::Null).await.status, 200);
    assert_eq!(ask(&agent, &token, "GET", "/credentials/tokens", &Value::Null).await.status, 403);
    let listed = ask(&agent, admin, "GET", "/credentials/tokens", &Value::Null).await;
    let ci = body(&listed)["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "ci").cloned().unwrap();
    assert_eq!((&ci["scope"], &ci["service"], &ci["expires"]), (&new["scope"], &new["service"], &new["expires"]));
    assert!(ci["last_used"].is_string() && !listed.body.contains(&token), "{listed:?}");
    let file = std::fs::read(agent.folder.path().join("agent/store.db-wal")).unwrap();
    assert!(!file.windows(token.len()).any(|window| window == token.as_bytes()));

    assert_eq!(ask(&agent, admin, "DELETE", "/credentials/tokens/ci", &Value::Null).await.status, 204);
    assert_eq!(ask(&agent, admin, "DELETE", "/credentials/tokens/ci", &Value::Null).await.status, 404);
    assert_eq!(ask(&agent, &token, "GET", "/services/blog/deployments", &Value::Null).await.status, 401);
}

#[tokio::test]
async fn a_token_ends_at_its_end_and_with_its_service() {
    let agent = TestAgent::start().await;
    let blog = agent.service("blog").await;
    let of_blog = agent.token("of-blog", Scope::Read, Some(blog.clone())).await;
    let short = agent.token("short", Scope::Read, None).await;
    for token in [&of_blog, &short] {
        let answer = ask(&agent, token.expose_secret(), "GET", "/services/blog/deployments", &Value::Null).await;
        assert_eq!(answer.status, 200);
    }
    let store = rusqlite::Connection::open(agent.folder.path().join("agent/store.db")).unwrap();
    assert_eq!(store.execute("UPDATE tokens SET expires = 1 WHERE name = 'short'", []).unwrap(), 1);
    let id = agent.store.service(&blog).await.unwrap().id;
    agent.store.forget_service(id).await.unwrap();
    agent.service("blog").await;
    for token in [&of_blog, &short] {
        let answer = ask(&agent, token.expose_secret(), "GET", "/services/blog/deployments", &Value::Null).await;
        assert_eq!(answer.status, 401);
    }
}

#[tokio::test]
async fn the_git_password_opens_git_and_nothing_else() {
    let agent = TestAgent::start().await;
    agent.service("some").await;
    let admin = agent.token("admin", Scope::Admin, None).await;
    let password = "correct wagon staple lantern";
    let header = basic(password);
    let with = |path: &'static str| request("GET", path, &[("Authorization", &header)], "");
    let unset = agent.ask(&with(REFS)).await;
    assert_eq!((unset.status, unset.header("content-type")), (401, Some("text/plain; charset=utf-8")));
    assert!(unset.body.contains("/credentials/update"), "{unset:?}");
    // A token that is none is told to come again, whether a password is set or not.
    assert_eq!(agent.ask(&request("GET", REFS, &[("Authorization", &basic("pk_no"))], "")).await.status, 401);

    let admin = admin.expose_secret();
    for weak in ["short", "password1234", "qwertyuiop12"] {
        let answer = ask(&agent, admin, "POST", "/credentials/update", &json!({"password": weak})).await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "weak-password"), "{weak}");
        assert!(!answer.body.contains(weak), "{answer:?}");
    }
    let in_the_address = "/credentials/update?password=correct+wagon+staple+lantern";
    assert_eq!(ask(&agent, admin, "POST", in_the_address, &Value::Null).await.status, 400);
    let set = ask(&agent, admin, "POST", "/credentials/update", &json!({"password": password})).await;
    assert_eq!(set.status, 204, "{set:?}");

    let opened = agent.ask(&with(REFS)).await;
    assert!(![401, 403].contains(&opened.status), "{opened:?}");
    assert_eq!(agent.ask(&with("/services")).await.status, 401);
    let wrong = agent.ask(&request("GET", REFS, &[("Authorization", &basic("wrong wagon staple"))], "")).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.header("www-authenticate").is_some());
}

#[tokio::test]
async fn wrong_keys_are_limited_by_the_clients_address() {
    let agent = TestAgent::start_with(|config| {
        config.limits.guesses = NonZeroU32::new(5).unwrap();
        config.listen.trusted_proxies = vec![[127, 0, 0, 1].into()];
    })
    .await;
    let token = agent.token("good", Scope::Read, None).await;
    let guess = |address: &str, bearer: &str| {
        let headers = [("X-Forwarded-For", address), ("Authorization", bearer)];
        let request = request("GET", "/services/none", &headers, "");
        let agent = &agent;
        async move { agent.ask(&request).await }
    };
    // What the client itself writes on the left changes nothing.
    let mut looked_at = 0;
    let refused = loop {
        let answer = guess(&format!("192.0.2.{looked_at}, 198.51.100.7"), "Bearer pk_guess").await;
        if answer.status != 401 {
            break answer;
        }
        looked_at += 1;
        // Each twelve seconds give one back, which a slow machine may take for five guesses.
        assert!(looked_at < 100);
    };
    assert!(looked_at >= 5, "{looked_at}");
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate-limited"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=13).contains(&wait), "{refused:?}");
    assert_eq!(guess("198.51.100.8", "Bearer pk_guess").await.status, 401);
    let good = format!("Bearer {}", token.expose_secret());
    assert_eq!(guess("198.51.100.7", &good).await.status, 404);
}

#[tokio::test]
async fn each_change_and_each_refusal_is_in_the_audit_log() {
    let agent = TestAgent::start().await;
    agent.service("blog").await;
    let admin = agent.token("admin", Scope::Admin, None).await;
    let reader = agent.token("reader", Scope::Read, None).await;
    let (admin, reader) = (admin.expose_secret(), reader.expose_secret());
    ask(&agent, admin, "POST", "/credentials/tokens", &json!({"name": "ci", "scope": "read"})).await;
    ask(&agent, admin, "POST", "/services/none/start", &Value::Null).await;
    ask(&agent, admin, "GET", "/services/blog/deployments", &Value::Null).await;
    ask(&agent, reader, "POST", "/services/blog/stop", &Value::Null).await;
    for _ in 0..3 {
        ask(&agent, "pk_no", "GET", "/services/blog", &Value::Null).await;
    }
    let local = agent.ask_locally(&request("DELETE", "/credentials/tokens/ci", &[], "")).await;
    assert_eq!(local.status, 204, "{local:?}");

    let page = ask(&agent, admin, "GET", "/audit?limit=3", &Value::Null).await;
    let first = body(&page);
    let next = format!("/audit?cursor={}", first["cursor"].as_str().unwrap());
    let rest = body(&ask(&agent, admin, "GET", &next, &Value::Null).await);
    assert!(rest["cursor"].is_null());
    let rows: Vec<Value> = [first, rest].iter().flat_map(|page| page["rows"].as_array().unwrap().clone()).collect();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or("-");
            [text("actor"), text("address"), text("action"), text("target"), text("result")].join(" | ")
        })
        .collect();
    let own = format!("local:{}", nix::unistd::getuid());
    let expected = [
        format!("{own} | - | DELETE /credentials/tokens/:name | /credentials/tokens/ci | 204"),
        "nobody | 127.0.0.1 | GET /services/:name | /services/blog | not-signed-in".into(),
        "token:reader | 127.0.0.1 | POST /services/:name/stop | /services/blog/stop | forbidden".into(),
        "token:admin | 127.0.0.1 | POST /services/:name/start | /services/none/start | not-found".into(),
        "token:admin | 127.0.0.1 | POST /credentials/tokens | /credentials/tokens | 201".into(),
    ];
    assert_eq!(told, expected);
    assert_eq!(rows[4]["detail"], "ci: read of all");
    assert!(!page.body.contains("pk_"), "{page:?}");
    let refused: Vec<_> = rows.iter().map(|row| row["refused"].as_bool().unwrap()).collect();
    assert_eq!(refused, [false, true, true, true, false]);
    let verified = ask(&agent, admin, "GET", "/audit/verify", &Value::Null).await;
    assert_eq!((&body(&verified)["whole"], &body(&verified)["head"]), (&json!(true), &rows[0]["hash"]));
}

#[tokio::test]
async fn a_flood_of_refusals_is_a_few_rows_which_say_so_and_what_was_done_stays() {
    let agent = TestAgent::start_with(|config| {
        config.limits.audit_rows = 100;
        config.listen.trusted_proxies = vec![[127, 0, 0, 1].into()];
    })
    .await;
    let admin = agent.token("admin", Scope::Admin, None).await;
    let admin = admin.expose_secret();
    ask(&agent, admin, "POST", "/credentials/tokens", &json!({"name": "ci", "scope": "read"})).await;
    let mut asked = 0;
    for round in 0..10 {
        for address in 0..40 {
            let from = format!("192.0.{round}.{address}");
            let headers = [("X-Forwarded-For", from.as_str()), ("Authorization", "Bearer pk_no")];
            assert_eq!(agent.ask(&request("GET", "/services/none", &headers, "")).await.status, 401);
            asked += 1;
        }
        // Somebody who was let in, and whose requests mean nothing.
        assert_eq!(ask(&agent, admin, "POST", "/services/none/start", &Value::Null).await.status, 404);
        let stopping = tokio_util::sync::CancellationToken::new();
        stopping.cancel();
        agent.auth.count_refusals(stopping).await;
    }
    let page = body(&ask(&agent, admin, "GET", "/audit?limit=1000", &Value::Null).await);
    let rows = page["rows"].as_array().unwrap();
    let done: Vec<_> = rows.iter().filter(|row| row["refused"] == false).collect();
    assert_eq!(done.iter().map(|row| &row["result"]).collect::<Vec<_>>(), ["201"]);
    assert!(rows.len() <= 1 + 12, "{} rows of {asked} refusals", rows.len());
    let many = rows.iter().find(|row| row["action"] == "many").unwrap();
    assert_eq!(
        (&many["actor"], &many["result"], &many["count"]),
        (&json!("nobody"), &json!("not-signed-in"), &json!(24))
    );
    assert!(many["since"].as_str().unwrap() <= many["time"].as_str().unwrap());
    let dropped = page["dropped"].as_array().unwrap();
    assert!(
        dropped.len() == 1 && dropped[0]["refused"] == true && dropped[0]["rows"].as_i64().unwrap() > 100,
        "{dropped:?}"
    );
    let verified = ask(&agent, admin, "GET", "/audit/verify", &Value::Null).await;
    assert_eq!(body(&verified)["whole"], true);
}
