//! The routes of REST: what is malformed, what is missing, what is counted.

use std::time::Duration;

use http_types::Method;
use podkeeper::http::{Lock, table};
use podkeeper::names::Scope;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{PATIENCE, TestAgent, request};

#[tokio::test]
async fn the_seeds_calls_are_in_the_table() {
    for (method, path, locked) in [
        (Method::Get, "/hooks/:repo", false),
        (Method::Post, "/hooks/:repo", false),
        (Method::Get, "/services", true),
        (Method::Get, "/services/status", true),
        (Method::Get, "/services/available", false),
        (Method::Put, "/services/:name", true),
        (Method::Delete, "/services/:name", true),
        (Method::Post, "/services/:name/start", true),
        (Method::Post, "/services/:name/stop", true),
        (Method::Post, "/services/:name/restart", true),
        (Method::Get, "/services/:name/logs", true),
        (Method::Get, "/services/:name/env", true),
        (Method::Post, "/services/:name/env/update", true),
        (Method::Post, "/credentials/fido/register", true),
    ] {
        let route = table::ROUTES.iter().find(|route| route.method == method && route.path == path);
        assert_eq!(route.map(|route| ![Lock::Open, Lock::Key].contains(&route.lock)), Some(locked), "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_that_is_none_signs_nobody_in() {
    let agent = TestAgent::start().await;
    let json = ("Content-Type", "application/json");
    let answer = agent.ask(&request("POST", "/sessions", &[json], r#"{"token":"pk_no"}"#)).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "not-signed-in"));
    let answer = agent.ask(&request("POST", "/sessions?token=pk_no", &[], "")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"));
    let token = agent.token("test", Scope::Admin, None).await;
    let body = format!("{{\"token\":\"{}\"}}", token.expose_secret());
    let foreign = [json, ("Origin", "http://evil.example")];
    assert_eq!(agent.ask(&request("POST", "/sessions", &foreign, &body)).await.code(), "wrong-origin");
}

#[tokio::test]
async fn editors_are_told_what_a_repository_may_say() {
    let agent = TestAgent::start().await;
    let answer = agent.ask(&request("GET", "/schemas/podkeeper.toml.json", &[], "")).await;
    let schema: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &schema["properties"]["root"]["type"]), (200, &"string".into()), "{answer:?}");
}

#[tokio::test]
async fn what_is_malformed_is_refused_at_the_edge() {
    let agent = TestAgent::start().await;
    let token = agent.token("test", Scope::Admin, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let key = ("Authorization", bearer.as_str());
    let json = ("Content-Type", "application/json");
    for (method, path, headers, body, status, code) in [
        ("PUT", "/services/blog", vec![key, json], "{", 400, "bad-request"),
        ("PUT", "/services/blog", vec![key, json], "[]", 400, "bad-request"),
        ("PUT", "/services/blog", vec![key, json], r#"{"template":"node","tempalte":1}"#, 400, "bad-request"),
        (
            "PUT",
            "/services/blog",
            vec![key, json],
            r#"{"template":"node","external":"https://a/b"}"#,
            400,
            "bad-request",
        ),
        ("PUT", "/services/blog", vec![key, json], r#"{"template":"node","name":"other"}"#, 400, "bad-request"),
        ("PUT", "/services/blog", vec![key], r#"{"template":"node"}"#, 415, "unsupported-media-type"),
        ("PUT", "/services/blog", vec![key, json], r#"{"external":"file:///etc"}"#, 422, "invalid-uri"),
        ("PUT", "/services/blog", vec![key, json], r#"{"external":"ext::sh -c x"}"#, 422, "invalid-uri"),
        ("PUT", "/services/blog", vec![key, json], r#"{"external":"--upload-pack=x"}"#, 422, "invalid-uri"),
        ("PUT", "/services/Blog", vec![key, json], r#"{"template":"node"}"#, 422, "invalid-name"),
        ("PUT", "/services/a_b", vec![key, json], r#"{"template":"node"}"#, 422, "invalid-name"),
        ("PUT", "/services/a%20b", vec![key, json], r#"{"template":"node"}"#, 422, "invalid-name"),
        ("PUT", "/services/..%2fx", vec![key, json], r#"{"template":"node"}"#, 422, "invalid-name"),
        ("PUT", "/services/build-1", vec![key, json], r#"{"template":"node"}"#, 422, "name-reserved"),
        ("POST", "/services/none/start", vec![key], "", 404, "not-found"),
        ("POST", "/services/none/stop", vec![key], "", 404, "not-found"),
        ("POST", "/services/none/restart?quick=1", vec![key], "", 404, "not-found"),
        ("DELETE", "/services/none", vec![key], "", 404, "not-found"),
        ("GET", "/services/none/logs?lines=-1", vec![key], "", 400, "bad-request"),
        ("GET", "/services/none/logs?lines=10001", vec![key], "", 400, "bad-request"),
        ("GET", "/services?limit=0", vec![key], "", 400, "bad-request"),
        ("GET", "/services?limit=1001", vec![key], "", 400, "bad-request"),
        ("GET", "/services/none/deployments?limit=201", vec![key], "", 400, "bad-request"),
        ("GET", "/audit?limit=1001", vec![key], "", 400, "bad-request"),
        ("GET", "/services/none/logs?lines=1&lines=2", vec![key], "", 400, "bad-request"),
        ("POST", "/services/none/env/update?env=%7B%7D", vec![key], "", 400, "bad-request"),
        ("GET", "/deployments/x", vec![key], "", 400, "bad-request"),
        ("GET", "/deployments/1", vec![key], "", 404, "not-found"),
        ("GET", "/nothing", vec![key], "", 404, "not-found"),
        ("PATCH", "/services", vec![key], "", 405, "method-not-allowed"),
    ] {
        let answer = agent.ask(&request(method, path, &headers, body)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path} {body}: {answer:?}");
        assert!(answer.header("x-request-id").is_some(), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
    }
    let answer = agent.ask(&request("PUT", "/services/app", &[key, json], r#"{"template":"node"}"#)).await;
    assert!(answer.body.contains("something of the agent's or of the host's"), "it says why: {answer:?}");
    assert!(answer.body.contains("\"hint\":\"Choose another name"), "and what to do: {answer:?}");
    agent.service("blog").await;
    // What is wrong is told by its name.
    for (body, status, told) in [
        (r#"{"keep":2,"container_port":70000}"#, 422, "`container_port` must be from 1 to 65535"),
        (r#"{"domains":["a b"]}"#, 422, "`domains`: `a b` is not a host name"),
        (r#"{"kept":2}"#, 400, "Unknown field `kept`; there are `container_port`, "),
    ] {
        let answer = agent.ask(&request("PATCH", "/services/blog", &[key, json], body)).await;
        assert!(answer.status == status && answer.body.contains(told), "{body}: {answer:?}");
    }
    // A stream that can't be is refused before it begins.
    for wrong in ["cursor=none", "grep=(", "grep=(&direction=forward"] {
        let path = format!("/services/blog/logs?follow=true&{wrong}");
        let answer = agent.ask(&request("GET", &path, &[key], "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"), "{wrong}: {answer:?}");
    }
    let answer = agent.ask(&request("PATCH", "/services", &[key], "")).await;
    assert_eq!(answer.header("allow"), Some("get, head, options"));
    let large = format!("{{\"template\":\"{}\"}}", "x".repeat(2 << 20));
    let answer = agent.ask(&request("PUT", "/services/blog", &[key, json], &large)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"));
}

#[tokio::test]
async fn a_host_that_is_away_is_named() {
    let agent = TestAgent::start().await;
    let token = agent.token("test", Scope::Admin, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let answer = agent.ask(&request("GET", "/services/status", &[("Authorization", &bearer)], "")).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "systemd-unavailable"));
    assert!(answer.header("retry-after").is_some());
    let ready = agent.ask(&request("GET", "/readyz", &[], "")).await;
    assert_eq!(ready.status, 503);
    assert_eq!((ready.code().as_str(), ready.header("content-type")), ("not-ready", Some("application/problem+json")));
    assert!(ready.body.contains("podman-unavailable") && ready.body.contains("\"store\":\"ok\""), "{}", ready.body);
    assert!(ready.body.contains("\"ready\":false") && ready.body.contains("no answer from podman"), "{}", ready.body);
    assert_eq!(ready.header("retry-after"), Some("5"));
    assert_eq!(agent.ask(&request("GET", "/healthz", &[], "")).await.status, 200);
}

#[tokio::test]
async fn what_anybody_may_ask_is_counted() {
    let agent = TestAgent::start().await;
    let mut refused = 0;
    for _ in 0..60 {
        let answer = agent.ask(&request("GET", "/services/available?name=A", &[], "")).await;
        match answer.status {
            200 => assert!(answer.body.contains("\"reason\":\"invalid\""), "{}", answer.body),
            429 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn whoever_has_signed_in_is_not_counted_among_strangers() {
    let agent = TestAgent::start_with(|config| {
        config.limits.anonymous_each = 1;
        config.limits.head_timeout = PATIENCE;
    })
    .await;
    let token = agent.token("test", Scope::Read, None).await;
    let kept =
        |token: &str| format!("GET /credentials/session HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut all = Vec::new();
    // The last one is a stranger's, which has the one place then.
    for (token, status) in [(token.expose_secret(), "200"), (token.expose_secret(), "200"), ("pk_no", "401")] {
        let mut stream = TcpStream::connect(agent.served.address).await.unwrap();
        stream.write_all(kept(token).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[9..], *status.as_bytes());
        all.push(stream);
    }
    let mut stream = TcpStream::connect(agent.served.address).await.unwrap();
    assert!(!matches!(stream.read(&mut [0]).await, Ok(1..)));
}

#[tokio::test]
async fn what_anybody_may_send_is_small() {
    let agent = TestAgent::start().await;
    let json = ("Content-Type", "application/json");
    for path in ["/sessions", "/credentials/fido/login"] {
        let body = format!("{{\"token\":\"{}\"}}", "x".repeat(16 * 1024));
        let answer = agent.ask(&request("POST", path, &[json], &body)).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_and_recorded_so() {
    let agent = TestAgent::start_with(|config| config.limits.body_timeout = Duration::from_secs(1)).await;
    let token = agent.token("test", Scope::Admin, None).await;
    let bearer = format!("Authorization: Bearer {}", token.expose_secret());
    for (path, header) in [("/sessions", "Accept: */*"), ("/credentials/tokens", &bearer)] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{header}\r\n");
        let answer = agent.ask(&format!("{head}Content-Length: 9\r\n\r\n{{")).await;
        assert_eq!((answer.status, answer.code().as_str()), (408, "request-timeout"), "{answer:?}");
    }
    let rows = agent.auth.audit(None, 10).await.unwrap();
    assert!(rows.iter().any(|row| row.entry.result == "request-timeout"), "{rows:?}");
}

#[tokio::test]
async fn a_process_on_the_host_makes_tokens_over_the_unix_socket() {
    let agent = TestAgent::start().await;
    let json = ("Content-Type", "application/json");
    let answer =
        agent.ask_locally(&request("POST", "/credentials/tokens", &[json], r#"{"name":"cli","scope":"admin"}"#)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let token = serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    assert_eq!(agent.ask(&request("GET", "/sessions", &[("Authorization", &bearer)], "")).await.status, 200);
}
