//! Socket.IO over real connections: the protocol's frames, who is let in, and the table of events.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use podkeeper::events::Event;
use podkeeper::names::{Actor, Scope};
use podkeeper::socketio::table::{EVENTS, NAMESPACES};
use podkeeper::store::{Cause, Grant, NewDeployment};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;

use super::support::{Answer, PATIENCE, TestAgent, exchange, request};

/// A client on a plain WebSocket that speaks the frames by hand.
struct Client {
    stream: WebSocketStream<TcpStream>,
    next: u64,
    events: VecDeque<(String, String, Value)>,
}

impl Client {
    async fn open(agent: &TestAgent, headers: &[(&'static str, &str)]) -> Self {
        let address = agent.served.address;
        let mut request = format!("ws://{address}/socket.io/?EIO=4&transport=websocket").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let mut client = Self { stream, next: 0, events: VecDeque::new() };
        let open: Value = serde_json::from_str(client.text().await.unwrap().strip_prefix('0').unwrap()).unwrap();
        assert_eq!(open["upgrades"], json!([]), "{open}");
        client
    }

    /// The next frame; none at the end. Pings are answered.
    async fn text(&mut self) -> Option<String> {
        loop {
            match tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("a frame") {
                Some(Ok(Message::Text(text))) if text.as_str() == "2" => self.send("3").await,
                Some(Ok(Message::Text(text))) => return Some(text.as_str().to_owned()),
                Some(Ok(Message::Close(_))) | Some(Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    async fn send(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    /// Reads to the end and answers nothing; false where something was answered.
    async fn is_cut_off(&mut self) -> bool {
        let ended = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) if text.as_str() == "2" => {}
                    Some(Ok(Message::Text(_))) => return false,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return true,
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("an end")
    }

    /// Connects to a namespace. The error is what the server says.
    async fn join(&mut self, namespace: &str, auth: Value) -> Result<(), String> {
        self.send(&format!("40{namespace},{auth}")).await;
        loop {
            let text = self.text().await.expect("an answer");
            if let Some(data) = text.strip_prefix(&format!("44{namespace},")) {
                let data: Value = serde_json::from_str(data).unwrap();
                return Err(data["message"].as_str().unwrap().to_owned());
            }
            if let Some(data) = text.strip_prefix(&format!("40{namespace},")) {
                assert!(data.contains("\"sid\""), "{data}");
                return Ok(());
            }
            self.keep(&text);
        }
    }

    fn keep(&mut self, text: &str) {
        let rest = text.strip_prefix("42").unwrap_or_else(|| panic!("{text}"));
        let (namespace, data) = rest.split_once(',').unwrap();
        let (event, data): (String, Value) = serde_json::from_str(data).unwrap();
        self.events.push_back((namespace.to_owned(), event, data));
    }

    /// Sends an event and waits for its answer.
    async fn ask(&mut self, namespace: &str, event: &str, data: Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.send(&format!("42{namespace},{id}{}", json!([event, data]))).await;
        loop {
            let text = self.text().await.expect("an answer");
            if let Some(data) = text.strip_prefix(&format!("43{namespace},{id}")) {
                let mut data: Vec<Value> = serde_json::from_str(data).unwrap();
                assert_eq!(data.len(), 1);
                return data.remove(0);
            }
            self.keep(&text);
        }
    }

    /// The next event; none where the connection or the namespace is closed.
    async fn event(&mut self) -> Option<(String, String, Value)> {
        while self.events.is_empty() {
            let text = self.text().await?;
            if text.starts_with("41") || text == "1" {
                return None;
            }
            self.keep(&text);
        }
        self.events.pop_front()
    }
}

async fn signed_in(agent: &TestAgent) -> Client {
    let token = agent.token("socket", Scope::Admin, None).await;
    Client::open(agent, &[("Authorization", &format!("Bearer {}", token.expose_secret()))]).await
}

/// The cookie that a token buys.
async fn cookie(agent: &TestAgent, token: &str) -> String {
    let body = format!("{{\"token\":\"{token}\"}}");
    let answer = agent.ask(&request("POST", "/sessions", &[("Content-Type", "application/json")], &body)).await;
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

async fn poll(agent: &TestAgent, method: &str, query: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    agent.ask(&request(method, &format!("/socket.io/?EIO=4&transport=polling{query}"), headers, body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn who_is_let_in_is_listened_to_at_once() {
    let agent = Arc::new(TestAgent::start().await);
    let token = agent.token("socket", Scope::Admin, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let (agent, bearer) = (agent.clone(), bearer.clone());
        clients.spawn(async move {
            for _ in 0..50 {
                let mut client = Client::open(&agent, &[("Authorization", &bearer)]).await;
                client.join("/log", json!({})).await.unwrap();
                let answer = client.ask("/log", "close", json!({ "channel": 1 })).await;
                assert_eq!(answer["problem"], "not-found");
            }
        });
    }
    // One that is never answered still is asked whether it lives.
    tokio::time::timeout(PATIENCE, clients.join_all()).await.expect("all are answered");
}

#[tokio::test]
async fn a_client_that_polls_connects_and_asks() {
    let agent = TestAgent::start().await;
    let token = agent.token("socket", Scope::Read, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let headers = [("Authorization", bearer.as_str())];
    let open = poll(&agent, "GET", "", &headers, "").await;
    let opened: Value = serde_json::from_str(open.body.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(opened["upgrades"], json!(["websocket"]));
    assert_eq!((&opened["pingInterval"], &opened["pingTimeout"]), (&json!(10_000), &json!(10_000)));
    let sid = format!("&sid={}", opened["sid"].as_str().unwrap());
    assert_eq!(poll(&agent, "POST", &sid, &headers, "40/log,").await.body, "ok");
    let until = async |wanted: &str, times: usize| {
        let mut answers = String::new();
        while answers.matches(wanted).count() < times {
            answers.push_str(&poll(&agent, "GET", &sid, &headers, "").await.body);
        }
        answers
    };
    until("40/log,{\"sid\"", 1).await;
    // Two packets in one payload.
    let two = "42/log,7[\"close\",{\"channel\":1}]\u{1e}42/log,8[\"nothing\"]";
    assert_eq!(poll(&agent, "POST", &sid, &headers, two).await.body, "ok");
    let answers = until("43/log,", 2).await;
    for id in [7, 8] {
        assert!(answers.contains(&format!("43/log,{id}[{{")), "{answers}");
    }
    assert_eq!(answers.matches("\"problem\":\"not-found\"").count(), 2, "{answers}");
    assert_eq!(poll(&agent, "POST", &sid, &headers, "1").await.body, "ok");
    assert_eq!(poll(&agent, "GET", &sid, &headers, "").await.status, 400);
}

#[tokio::test]
async fn what_is_no_engine_io_is_refused() {
    let agent = TestAgent::start().await;
    for (method, path, code) in [
        ("GET", "/socket.io/?EIO=4&transport=abc", "0"),
        ("GET", "/socket.io/?EIO=4", "0"),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=abc", "1"),
        ("POST", "/socket.io/?EIO=4&transport=polling", "2"),
        ("GET", "/socket.io/?EIO=3&transport=polling", "5"),
        ("GET", "/socket.io/?transport=polling", "5"),
    ] {
        let answer = agent.ask(&request(method, path, &[], "")).await;
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        assert_eq!((answer.status, body["code"].as_str()), (400, Some(code)), "{method} {path}: {answer:?}");
    }
    // What only begins like it is another path.
    assert_eq!(agent.ask(&request("GET", "/socket.iox", &[], "")).await.status, 404);
}

async fn poll_from(from: &str, to: SocketAddr) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    exchange(socket.connect(to).await.unwrap(), &request("GET", OPEN, &[], "")).await
}

/// A handshake.
const OPEN: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn handshakes_are_counted_by_address() {
    let agent = TestAgent::start_with(|config| config.limits.handshakes = NonZeroU32::MIN).await;
    let limited = loop {
        let answer = poll(&agent, "GET", "", &[], "").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((limited.status, limited.code().as_str()), (429, "rate-limited"), "{limited:?}");
    assert_eq!(limited.header("content-type"), Some("application/problem+json"));
    assert!(limited.header("retry-after").is_some());
    assert_eq!(poll_from("127.0.0.2", agent.served.address).await.status, 200);
}

#[tokio::test]
async fn sessions_that_join_nothing_are_few_and_end() {
    let agent = TestAgent::start().await;
    let token = agent.token("socket", Scope::Read, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    // Those who have joined are not counted.
    let mut joined = Vec::new();
    for _ in 0..40 {
        let mut client = Client::open(&agent, &[("Authorization", &bearer)]).await;
        client.join("/log", json!({})).await.unwrap();
        joined.push(client);
    }
    // Nobody closes them.
    let mut opened = 0;
    let full = loop {
        let answer = poll(&agent, "GET", "", &[], "").await;
        if answer.status != 200 {
            break answer;
        }
        opened += 1;
    };
    assert_eq!((full.status, full.code().as_str()), (429, "rate-limited"), "{full:?}");
    assert!(opened >= 32, "{opened}");
    assert_eq!(poll_from("127.0.0.2", agent.served.address).await.status, 200, "another address has its own");
    let ended = async {
        while poll(&agent, "GET", "", &[], "").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("they end");
}

#[tokio::test]
async fn who_has_not_joined_sends_little() {
    let agent = TestAgent::start().await;
    let large = format!("42/log,1[\"close\",{{\"channel\":1,\"filler\":\"{}\"}}]", "x".repeat(100_000));
    let mut client = signed_in(&agent).await;
    // The agent may be quicker than we are.
    let _ = client.stream.send(Message::text(large.clone())).await;
    assert!(client.is_cut_off().await);
    let mut client = signed_in_as(&agent, "joined").await;
    client.join("/log", json!({})).await.unwrap();
    client.send(&large).await;
    assert!(client.text().await.unwrap().contains("bad-request"), "it is looked at");

    // The same by polling, and where that is upgraded.
    let token = agent.token("polling", Scope::Read, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let headers = [("Authorization", bearer.as_str())];
    for joins in [false, true] {
        let open = poll(&agent, "GET", "", &headers, "").await;
        let opened: Value = serde_json::from_str(open.body.strip_prefix('0').unwrap()).unwrap();
        let sid = format!("&sid={}", opened["sid"].as_str().unwrap());
        if joins {
            assert_eq!(poll(&agent, "POST", &sid, &headers, "40/log,").await.body, "ok");
            while !poll(&agent, "GET", &sid, &headers, "").await.body.contains("40/log,{") {}
        }
        let stream = TcpStream::connect(agent.served.address).await.unwrap();
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket{sid}", agent.served.address);
        let (stream, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let mut client = Client { stream, next: 0, events: VecDeque::new() };
        client.send("2probe").await;
        assert_eq!(client.text().await.as_deref(), Some("3probe"));
        client.send("5").await;
        let _ = client.stream.send(Message::text(large.clone())).await;
        if joins {
            assert!(client.text().await.unwrap().contains("bad-request"), "it is looked at");
        } else {
            assert!(client.is_cut_off().await);
        }

        let open = poll(&agent, "GET", "", &headers, "").await;
        let opened: Value = serde_json::from_str(open.body.strip_prefix('0').unwrap()).unwrap();
        let sid = format!("&sid={}", opened["sid"].as_str().unwrap());
        if joins {
            assert_eq!(poll(&agent, "POST", &sid, &headers, "40/log,").await.body, "ok");
            while !poll(&agent, "GET", &sid, &headers, "").await.body.contains("40/log,{") {}
        }
        let answer = poll(&agent, "POST", &sid, &headers, &large).await;
        assert_eq!(answer.status == 200, joins, "{answer:?}");
    }
}

#[tokio::test]
async fn a_stalled_poll_is_answered() {
    let agent = TestAgent::start_with(|config| config.limits.body_timeout = Duration::from_secs(1)).await;
    let open = poll(&agent, "GET", "", &[], "").await;
    let opened: Value = serde_json::from_str(open.body.strip_prefix('0').unwrap()).unwrap();
    let sid = opened["sid"].as_str().unwrap();
    let head = format!("POST {OPEN}&sid={sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n40/log");
    let answer = agent.ask(&head).await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request-timeout"), "{answer:?}");
}

#[tokio::test]
async fn a_malformed_or_oversized_frame_ends_the_connection() {
    let agent = TestAgent::start().await;
    for frame in
        ["4abc".to_owned(), "42/log,[".into(), "9".into(), format!("42/log,[\"open\",\"{}\"]", "x".repeat(2 << 20))]
    {
        let mut client = signed_in_as(&agent, &frame.len().to_string()).await;
        client.join("/log", json!({})).await.unwrap();
        // The server may be gone before all of it is written.
        let _ = client.stream.send(Message::text(frame)).await;
        assert!(client.event().await.is_none());
    }
    let mut client = signed_in_as(&agent, "again").await;
    client.join("/log", json!({})).await.unwrap();
}

async fn signed_in_as(agent: &TestAgent, name: &str) -> Client {
    let token = agent.token(name, Scope::Admin, None).await;
    Client::open(agent, &[("Authorization", &format!("Bearer {}", token.expose_secret()))]).await
}

#[tokio::test]
async fn a_namespace_opens_to_a_token_and_to_a_cookie_from_our_own_page() {
    let agent = TestAgent::start().await;
    let token = agent.token("socket", Scope::Read, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let cookie = cookie(&agent, token.expose_secret()).await;
    let origin = format!("http://{}", agent.served.address);
    for namespace in NAMESPACES.iter().filter(|namespace| namespace.scope == Scope::Read) {
        for (name, headers, auth, problem) in [
            ("nobody", vec![], json!({}), Some("not-signed-in")),
            ("a wrong token", vec![("Authorization", "Bearer pk_a")], json!({}), Some("not-signed-in")),
            ("a wrong cookie", vec![("Cookie", "podkeeper=a"), ("Origin", &origin)], json!({}), Some("not-signed-in")),
            (
                "a foreign page",
                vec![("Cookie", &cookie), ("Origin", "http://evil.example")],
                json!({}),
                Some("wrong-origin"),
            ),
            ("no page", vec![("Cookie", &cookie)], json!({}), Some("wrong-origin")),
            ("a cookie", vec![("Cookie", &cookie), ("Origin", &origin)], json!({}), None),
            ("a token", vec![("Authorization", &bearer)], json!({}), None),
            ("a token in the packet", vec![], json!({ "token": token.expose_secret() }), None),
            (
                "a wrong one in the packet",
                vec![("Authorization", &bearer)],
                json!({ "token": "pk_a" }),
                Some("not-signed-in"),
            ),
        ] {
            let mut client = Client::open(&agent, &headers).await;
            let joined = client.join(namespace.path, auth).await;
            let said = joined.as_ref().err().and_then(|said| said.split(':').next());
            assert_eq!(said, problem, "{} {name}: {joined:?}", namespace.path);
            if problem.is_some() {
                // Nothing is there to send an event to, and whoever tries is cut off.
                client.send(&format!("42{},1[\"stats\",{{\"on\":true}}]", namespace.path)).await;
                assert!(client.event().await.is_none(), "{} {name}", namespace.path);
            }
        }
    }
    let rows = agent.auth.audit(None, 200).await.unwrap();
    for namespace in NAMESPACES.iter().filter(|namespace| namespace.scope == Scope::Read) {
        for result in ["not-signed-in", "wrong-origin"] {
            let action = format!("{} connect", namespace.path);
            let refused = rows.iter().any(|row| row.entry.action == action && row.entry.result == result);
            assert!(refused, "{} {result}: {rows:?}", namespace.path);
        }
    }
    let mut client = Client::open(&agent, &[("Authorization", &bearer)]).await;
    assert_eq!(client.join("/none", json!({})).await.unwrap_err(), "Invalid namespace");
}

#[tokio::test]
async fn the_seeds_namespaces_are_there() {
    for path in ["/status", "/log", "/term"] {
        assert!(NAMESPACES.iter().any(|namespace| namespace.path == path), "{path}");
    }
    for event in EVENTS {
        assert!(NAMESPACES.iter().any(|namespace| namespace.path == event.namespace), "{}", event.name);
    }
}

#[tokio::test]
async fn a_client_whose_token_goes_is_cut_off() {
    let agent = TestAgent::start().await;
    let mut stays = signed_in_as(&agent, "stays").await;
    let mut goes = signed_in_as(&agent, "goes").await;
    for client in [&mut stays, &mut goes] {
        client.join("/log", json!({})).await.unwrap();
        client.join("/status", json!({})).await.unwrap();
    }
    agent.auth.remove_token(&"goes".parse().unwrap()).await.unwrap();
    let mut farewells = 0;
    while let Some(text) = goes.text().await {
        farewells += usize::from(text.starts_with("41/"));
    }
    // Both namespaces said so, and then the connection itself was closed.
    assert_eq!(farewells, 2);
    assert_eq!(stays.ask("/log", "close", json!({ "channel": 1 })).await["problem"], "not-found");
}

#[tokio::test]
async fn a_channel_is_closed_once() {
    let agent = TestAgent::start().await;
    agent.service("blog").await;
    let mut client = signed_in(&agent).await;
    client.join("/log", json!({})).await.unwrap();
    let channel = client.ask("/log", "open", json!({ "service": "blog" })).await["channel"].clone();
    // The second and what is acknowledged behind the first come before the stream has ended.
    for (id, event) in [(7, "close"), (8, "close"), (9, "ack")] {
        let data = json!({ "channel": channel, "seq": 0 });
        let data = if event == "ack" { data } else { json!({ "channel": channel }) };
        client.stream.feed(Message::text(format!("42/log,{id}{}", json!([event, data])))).await.unwrap();
    }
    client.stream.flush().await.unwrap();
    let mut answers = Vec::new();
    while answers.len() < 3 {
        let text = client.text().await.expect("an answer");
        match text.strip_prefix("43/log,") {
            Some(answer) => answers.push(answer.to_owned()),
            None => client.keep(&text),
        }
    }
    assert_eq!(answers[0], "7[{}]");
    assert!(answers[1..].iter().all(|answer| answer.contains("\"problem\":\"not-found\"")), "{answers:?}");
    let (_, event, data) = client.event().await.unwrap();
    assert_eq!((event.as_str(), data), ("closed", json!({ "channel": channel })));
}

#[tokio::test]
async fn a_stream_ends_when_its_token_may_do_something_else() {
    let agent = TestAgent::start().await;
    let (blog, shop) = (agent.service("blog").await, agent.service("shop").await);
    let token = agent.token("one", Scope::Read, Some(blog)).await;
    let mut client = Client::open(&agent, &[("Authorization", &format!("Bearer {}", token.expose_secret()))]).await;
    client.join("/log", json!({})).await.unwrap();
    let channel = client.ask("/log", "open", json!({ "service": "blog" })).await["channel"].clone();
    let other = agent.store.service(&shop).await.unwrap().id;
    agent.database().execute("UPDATE tokens SET service = ?1 WHERE name = 'one'", [other]).unwrap();
    agent.events.publish(Event::Credentials);
    let (_, event, data) = client.event().await.unwrap();
    assert_eq!((event.as_str(), &data["channel"], &data["problem"]), ("closed", &channel, &json!("forbidden")));
    // The connection stays, and opens what it may now.
    assert!(client.ask("/log", "open", json!({ "service": "shop" })).await["channel"].is_number());
}

#[tokio::test]
async fn anothers_deployment_is_as_if_it_were_not_there() {
    let agent = TestAgent::start().await;
    let (blog, shop) = (agent.service("blog").await, agent.service("shop").await);
    let push = NewDeployment::build(&shop, Cause::Push, Actor::Agent, None);
    let id = agent.store.request_deployment(push).await.unwrap().0.id.0;
    let token = agent.token("one", Scope::Read, Some(blog)).await;
    let mut client = Client::open(&agent, &[("Authorization", &format!("Bearer {}", token.expose_secret()))]).await;
    client.join("/log", json!({})).await.unwrap();
    let there = client.ask("/log", "open", json!({ "deployment": id })).await;
    assert_eq!(there["problem"], "forbidden");
    assert_eq!(client.ask("/log", "open", json!({ "deployment": id + 99 })).await, there);
}

#[tokio::test]
async fn a_stream_ends_with_its_service_though_another_has_its_name() {
    let agent = TestAgent::start().await;
    let blog = agent.service("blog").await;
    let mut client = signed_in(&agent).await;
    client.join("/log", json!({})).await.unwrap();
    let channel = client.ask("/log", "open", json!({ "service": "blog" })).await["channel"].clone();
    let id = agent.store.service(&blog).await.unwrap().id;
    agent.store.forget_service(id).await.unwrap();
    agent.service("blog").await;
    agent.events.publish(Event::Removed(blog));
    let (_, event, data) = client.event().await.unwrap();
    assert_eq!((event.as_str(), &data["channel"], &data["problem"]), ("closed", &channel, &json!("not-found")));
}

#[tokio::test]
async fn an_agent_that_stops_says_so() {
    let agent = TestAgent::start().await;
    let mut client = signed_in(&agent).await;
    client.join("/status", json!({})).await.unwrap();
    agent.stopping.cancel();
    let sockets = agent.sockets.clone();
    tokio::spawn(async move { sockets.stop().await });
    let (_, event, data) = client.event().await.unwrap();
    assert_eq!((event.as_str(), &data["problem"]), ("closed", &json!("restarting")));
    assert!(client.event().await.is_none());
}

#[tokio::test]
async fn an_acknowledgement_does_not_wait_for_its_turn() {
    let agent = TestAgent::start().await;
    let mut client = signed_in(&agent).await;
    client.join("/log", json!({})).await.unwrap();
    // More than may wait, unless the agent was quicker than we are: then once more.
    let many = 300;
    let mut limited = 0;
    while limited == 0 {
        for id in 0..many {
            let open = format!("42/log,{id}{}", json!(["open", { "service": "nobody" }]));
            client.stream.feed(Message::text(open)).await.unwrap();
        }
        for event in [json!(["ack", { "channel": 1, "seq": 1 }]), json!(["close", { "channel": 1 }])] {
            client.stream.feed(Message::text(format!("42/log,{many}{event}"))).await.unwrap();
        }
        client.stream.flush().await.unwrap();
        let mut own = 0;
        for _ in 0..many + 2 {
            let text = client.text().await.expect("an answer");
            let (id, answer) = text.strip_prefix("43/log,").unwrap().split_once('[').unwrap();
            own += usize::from(id == many.to_string() && answer.contains("not-found"));
            limited += usize::from(answer.contains("rate-limited"));
        }
        assert_eq!(own, 2);
    }
}

#[tokio::test]
async fn what_an_event_does_not_take_is_refused() {
    let agent = TestAgent::start().await;
    let mut client = signed_in(&agent).await;
    client.join("/log", json!({})).await.unwrap();
    client.join("/status", json!({})).await.unwrap();
    client.join("/term", json!({})).await.unwrap();
    for (namespace, event, data, problem) in [
        ("/term", "open", json!({ "cols": 80 }), "bad-request"),
        ("/term", "open", json!({ "cols": 1, "rows": 24 }), "bad-request"),
        ("/term", "open", json!({ "cols": 80, "rows": 24, "service": "none" }), "not-found"),
        ("/term", "open", json!({ "cols": 80, "rows": 24, "name": "A b" }), "bad-request"),
        ("/term", "open", json!({ "cols": 80, "rows": 24, "other": 1 }), "bad-request"),
        ("/term", "list", json!({ "other": 1 }), "bad-request"),
        ("/term", "attach", json!({ "session": "abcdefgh" }), "not-found"),
        ("/term", "attach", json!({ "session": "../../.." }), "bad-request"),
        ("/term", "input", json!({ "session": "abcdefgh", "text": "x" }), "not-found"),
        ("/term", "resize", json!({ "session": "abcdefgh", "cols": 80, "rows": 24 }), "not-found"),
        ("/term", "ack", json!({ "session": "abcdefgh", "bytes": 1 }), "not-found"),
        ("/term", "detach", json!({ "session": "abcdefgh" }), "not-found"),
        ("/term", "close", json!({ "session": "abcdefgh" }), "not-found"),
        ("/log", "open", json!({}), "bad-request"),
        ("/log", "open", json!({ "service": "none" }), "not-found"),
        ("/log", "open", json!({ "deployment": 7 }), "not-found"),
        ("/log", "open", json!({ "service": "none", "deployment": 7 }), "bad-request"),
        ("/log", "open", json!({ "service": "Not A Name" }), "bad-request"),
        ("/log", "open", json!({ "service": "none", "lines": 10_001 }), "bad-request"),
        ("/log", "open", json!({ "service": "none", "priority": 8 }), "bad-request"),
        ("/log", "open", json!({ "service": "none", "grep": "(" }), "bad-request"),
        ("/log", "open", json!({ "service": "none", "other": 1 }), "bad-request"),
        ("/log", "ack", json!({ "channel": 1, "seq": 1 }), "not-found"),
        ("/log", "ack", json!("x"), "bad-request"),
        ("/log", "close", json!({ "channel": 1 }), "not-found"),
        ("/status", "stats", json!({ "on": "yes" }), "bad-request"),
        ("/status", "open", json!({ "service": "none" }), "not-found"),
    ] {
        let answer = client.ask(namespace, event, data.clone()).await;
        assert_eq!(answer["problem"], problem, "{namespace} {event} {data}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(
            !["expected", "struct", "invalid type", "at line"].iter().any(|word| detail.contains(word)),
            "{detail}"
        );
    }
    // What is wrong is told by its field and what that takes.
    for (namespace, event, data, told) in [
        (
            "/log",
            "open",
            json!({ "other": 1 }),
            "`open` doesn't take that: unknown field `other`; there are `service`, ",
        ),
        ("/log", "open", json!({ "service": 5 }), "`open` doesn't take that: `service` takes a text"),
        (
            "/log",
            "open",
            json!({ "service": "A b" }),
            "`open` doesn't take that: `service`: `A b` is not a service name: ",
        ),
        ("/log", "ack", json!("x"), "`ack` doesn't take that: an object with the fields `channel`, `seq` is wanted"),
        ("/status", "stats", json!({ "on": "hunter2" }), "`stats` doesn't take that: `on` takes true or false"),
        ("/term", "open", json!({ "cols": 80 }), "`open` doesn't take that: `rows` is missing"),
    ] {
        let answer = client.ask(namespace, event, data.clone()).await;
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.starts_with(told) && !detail.contains("hunter2"), "{namespace} {event} {data}: {detail}");
    }
}

#[tokio::test]
async fn a_terminal_takes_everything_that_a_token_can_be_allowed() {
    let agent = TestAgent::start().await;
    for (scope, problem) in [(Scope::Read, Some("forbidden")), (Scope::Deploy, Some("forbidden")), (Scope::Admin, None)]
    {
        let token = agent.token(scope.as_str(), scope, None).await;
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut client = Client::open(&agent, &[("Authorization", &bearer)]).await;
        let joined = client.join("/term", json!({})).await;
        assert_eq!(joined.as_ref().err().and_then(|said| said.split(':').next()), problem, "{scope}");
    }
    // What a token for one service opens is not the host's, and not another service's.
    let token = agent.token("one", Scope::Admin, Some(agent.service("blog").await)).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let mut client = Client::open(&agent, &[("Authorization", &bearer)]).await;
    client.join("/term", json!({})).await.unwrap();
    for wanted in [json!({ "cols": 80, "rows": 24 }), json!({ "cols": 80, "rows": 24, "service": "shop" })] {
        assert_eq!(client.ask("/term", "open", wanted).await["problem"], "forbidden");
    }
    let wanted = json!({ "cols": 80, "rows": 24, "service": "blog" });
    assert_eq!(client.ask("/term", "open", wanted).await["problem"], "conflict", "it does not run");
    assert_eq!(client.ask("/term", "list", json!({})).await["sessions"], json!([]));
    // What is recorded of it no handler says: that somebody was refused, and of what is recorded whole that it failed, too.
    assert_eq!(client.ask("/term", "close", json!({ "session": "abcdefgh" })).await["problem"], "not-found");
    let rows = agent.auth.audit(None, 50).await.unwrap();
    let of_events = rows
        .iter()
        .map(|row| &row.entry)
        .filter(|row| row.action.starts_with("/term ") && row.action != "/term connect");
    let told: Vec<_> = of_events.map(|row| (row.action.as_str(), row.target.as_str(), row.result.as_str())).collect();
    assert_eq!(told, [("/term open", "blog", "conflict"), ("/term open", "/term", "forbidden")]);
}

/// What an event is sent with; where it concerns a service, that is `shop`.
fn payload(event: &str) -> Value {
    match event {
        "open" => json!({ "service": "shop", "grep": "(" }),
        "ack" => json!({ "channel": 1, "seq": 1 }),
        "close" => json!({ "channel": 1 }),
        _ => json!({ "on": false }),
    }
}

#[tokio::test]
async fn every_event_for_everybody() {
    let agent = TestAgent::start().await;
    let (shop, blog) = (&agent.service("shop").await, &agent.service("blog").await);
    let soon = Some(Timestamp::now() + SignedDuration::from_secs(600));
    let all = Grant { scope: Scope::Admin, service: None };
    let expired = agent.auth.create_token("expired".parse().unwrap(), all, soon).await.unwrap();
    agent.database().execute("UPDATE tokens SET expires = expires - 601000000", []).unwrap();
    let admin = agent.token("admin", Scope::Admin, None).await;
    let ended = cookie(&agent, admin.expose_secret()).await;
    let session = agent.auth.sessions().await.unwrap()[0].id;
    agent.auth.sign_out(session).await.unwrap();
    let session = cookie(&agent, admin.expose_secret()).await;
    let origin = format!("http://{}", agent.served.address);
    let bearer = |token: &SecretString| ("Authorization", format!("Bearer {}", token.expose_secret()));
    let mut everybody = vec![
        ("nobody", vec![], Err("not-signed-in")),
        ("an expired token", vec![bearer(&expired)], Err("not-signed-in")),
        ("an ended session", vec![("Cookie", ended), ("Origin", origin.clone())], Err("not-signed-in")),
        (
            "a wrong origin",
            vec![("Cookie", session.clone()), ("Origin", "http://evil.example".into())],
            Err("wrong-origin"),
        ),
        ("a session", vec![("Cookie", session), ("Origin", origin)], Ok((Scope::Admin, true))),
        ("admin", vec![bearer(&admin)], Ok((Scope::Admin, true))),
    ];
    for (who, scope, service) in [
        ("read", Scope::Read, None),
        ("read-shop", Scope::Read, Some(shop)),
        ("read-blog", Scope::Read, Some(blog)),
        ("deploy", Scope::Deploy, None),
        ("deploy-shop", Scope::Deploy, Some(shop)),
        ("deploy-blog", Scope::Deploy, Some(blog)),
    ] {
        let token = agent.token(who, scope, service.cloned()).await;
        everybody.push((who, vec![bearer(&token)], Ok((scope, service != Some(blog)))));
    }
    for (who, headers, lets) in everybody {
        let headers: Vec<(&'static str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut client = Client::open(&agent, &headers).await;
        for namespace in NAMESPACES {
            let joined = client.join(namespace.path, json!({})).await;
            let said = joined.as_ref().err().and_then(|said| said.split(':').next());
            let expected = match lets {
                Err(problem) => Some(problem),
                Ok((scope, _)) => (scope < namespace.scope).then_some("forbidden"),
            };
            assert_eq!(said, expected, "{} by {who}: {joined:?}", namespace.path);
            let Ok((scope, sees_shop)) = lets else { continue };
            for event in EVENTS.iter().filter(|event| event.namespace == namespace.path && joined.is_ok()) {
                let data = payload(event.name);
                let forbidden = scope < event.scope || (!sees_shop && data.get("service").is_some());
                let answer = client.ask(event.namespace, event.name, data).await;
                assert_eq!(answer["problem"] == "forbidden", forbidden, "{} by {who}: {answer}", event.name);
            }
        }
    }
}
