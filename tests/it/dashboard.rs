//! The dashboard's files, and the headers of every answer.

use super::support::{TestAgent, request};

#[tokio::test]
async fn the_page_is_kept_by_the_browser_and_may_load_nothing_from_elsewhere() {
    let agent = TestAgent::start().await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/app.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
    ] {
        let answer = agent.ask(&request("GET", path, &[], "")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        let head = agent.ask(&request("HEAD", path, &[], "")).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    let answer = agent.ask(&request("GET", "/assets/app.js", &[], "")).await;
    // The head is in lower case here, and an ETag is not.
    let text = agent.ask(&request("GET", "/assets/app.js", &[("If-None-Match", "\"other\"")], "")).await;
    assert_eq!((text.status, text.body == answer.body), (200, true));
    let etag = podkeeper::dashboard::asset("app.js").unwrap().etag();
    let kept = agent.ask(&request("GET", "/assets/app.js", &[("If-None-Match", &format!("\"x\", {etag}"))], "")).await;
    assert_eq!((kept.status, kept.body.as_str()), (304, ""));
    for path in ["/assets/nothing.js", "/assets/..%2fmod.rs", "/assets/", "/index.html"] {
        assert_eq!(agent.ask(&request("GET", path, &[], "")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn every_answer_says_what_a_browser_must_not_do_with_it() {
    let agent = TestAgent::start().await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/healthz"),
        ("GET", "/services"),
        ("GET", "/nothing"),
        ("PATCH", "/services"),
        ("OPTIONS", "/services"),
        ("GET", "/git/some.git/info/refs"),
        ("POST", "/sessions"),
    ] {
        let foreign = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "GET")];
        let answer = agent.ask(&request(method, path, &foreign, "")).await;
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
        assert_eq!(answer.header("strict-transport-security"), None, "there is no TLS: {path}");
        assert!(!answer.head.contains("access-control-allow"), "{path}: {}", answer.head);
    }
}
