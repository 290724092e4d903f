//! Answers that go on end when whoever reads them may not any more, and when what they tell of is another one.

use jiff::{SignedDuration, Timestamp};
use podkeeper::events::Event;
use podkeeper::names::{Actor, DeploymentId, Scope, ServiceName};
use podkeeper::store::{Cause, Grant, NewDeployment};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{PATIENCE, TestAgent, request};

/// An answer that has begun and goes on.
struct Endless {
    stream: TcpStream,
    path: String,
    read: Vec<u8>,
}

impl Endless {
    async fn begin(agent: &TestAgent, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(agent.served.address).await.unwrap();
        stream.write_all(request("GET", path, headers, "").as_bytes()).await.unwrap();
        let mut this = Self { stream, path: path.to_owned(), read: Vec::new() };
        this.until(|text| text.contains("\r\n\r\n")).await;
        assert!(this.read.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&this.read));
        this
    }

    async fn until(&mut self, enough: impl Fn(&str) -> bool) {
        while !enough(&String::from_utf8_lossy(&self.read)) {
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
            if read.unwrap_or_else(|_| panic!("{} goes on", self.path)).unwrap() == 0 {
                return;
            }
        }
    }

    /// What it said to its end.
    async fn end(mut self) -> String {
        self.until(|_| false).await;
        String::from_utf8(self.read).unwrap()
    }
}

/// A deployment that has not begun, and never does.
async fn waiting(agent: &TestAgent, service: &ServiceName) -> DeploymentId {
    let new = NewDeployment {
        service: service.clone(),
        cause: Cause::Start,
        actor: Actor::Agent,
        commit: None,
        from_release: None,
        env: None,
    };
    agent.store.request_deployment(new).await.unwrap().0.id
}

/// Every answer that goes on, and how it says why it ends.
async fn endless(agent: &TestAgent, service: &ServiceName, headers: &[(&str, &str)]) -> Vec<(Endless, bool)> {
    let deployment = waiting(agent, service).await;
    let mut all = Vec::new();
    for path in [format!("/services/{service}/logs?follow=true"), format!("/deployments/{deployment}/log")] {
        for accept in ["text/event-stream", "text/plain"] {
            let headers = [headers, &[("Accept", accept)]].concat();
            all.push((Endless::begin(agent, &path, &headers).await, accept == "text/event-stream"));
        }
    }
    all
}

async fn all_end(all: Vec<(Endless, bool)>, problem: &str) {
    for (stream, events) in all {
        let path = stream.path.clone();
        let said = stream.end().await;
        if events {
            assert!(said.contains(&format!("event: closed\ndata: {{\"problem\":\"{problem}\"")), "{path}: {said}");
        } else {
            assert!(said.contains(&format!("[{problem}]\n")), "{path}: {said}");
        }
    }
}

fn bearer(token: &secrecy::SecretString) -> String {
    format!("Bearer {}", token.expose_secret())
}

#[tokio::test]
async fn an_answer_ends_with_the_token_that_it_was_asked_for_with() {
    let agent = TestAgent::start().await;
    let blog = agent.service("blog").await;
    let token = bearer(&agent.token("goes", Scope::Read, None).await);
    let other = bearer(&agent.token("stays", Scope::Read, None).await);
    let all = endless(&agent, &blog, &[("Authorization", &token)]).await;
    let mut stays = Endless::begin(&agent, "/services/blog/logs?follow=true", &[("Authorization", &other)]).await;
    agent.auth.remove_token(&"goes".parse().unwrap()).await.unwrap();
    all_end(all, "not-signed-in").await;
    let more = tokio::time::timeout(std::time::Duration::from_millis(50), stays.stream.read_buf(&mut stays.read)).await;
    assert!(more.is_err(), "another's goes on");
}

#[tokio::test]
async fn an_answer_ends_with_its_session_and_when_that_expires() {
    let agent = TestAgent::start().await;
    let blog = agent.service("blog").await;
    let token = agent.token("browser", Scope::Read, None).await;
    let sign_in = async || {
        let body = format!("{{\"token\":\"{}\"}}", token.expose_secret());
        let answer = agent.ask(&request("POST", "/sessions", &[("Content-Type", "application/json")], &body)).await;
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    };
    let all = endless(&agent, &blog, &[("Cookie", &sign_in().await)]).await;
    let session = agent.auth.sessions().await.unwrap()[0].id;
    agent.auth.sign_out(session).await.unwrap();
    all_end(all, "not-signed-in").await;

    // By itself, without anybody doing anything.
    let soon = Timestamp::now() + SignedDuration::from_secs(3);
    let token = agent
        .auth
        .create_token("ends".parse().unwrap(), Grant { scope: Scope::Read, service: None }, Some(soon))
        .await
        .unwrap();
    all_end(endless(&agent, &blog, &[("Authorization", &bearer(&token))]).await, "not-signed-in").await;
    assert!(Timestamp::now() >= soon);
}

#[tokio::test]
async fn an_answer_ends_when_its_token_may_do_something_else() {
    let agent = TestAgent::start().await;
    let (blog, shop) = (agent.service("blog").await, agent.service("shop").await);
    let token = agent.token("one", Scope::Read, Some(blog.clone())).await;
    let all = endless(&agent, &blog, &[("Authorization", &bearer(&token))]).await;
    let other = agent.store.service(&shop).await.unwrap().id;
    agent.database().execute("UPDATE tokens SET service = ?1 WHERE name = 'one'", [other]).unwrap();
    agent.events.publish(Event::Credentials);
    all_end(all, "forbidden").await;
}

#[tokio::test]
async fn an_answer_ends_with_its_service_though_another_has_its_name() {
    let agent = TestAgent::start().await;
    let blog = agent.service("blog").await;
    let token = bearer(&agent.token("all", Scope::Read, None).await);
    let all = endless(&agent, &blog, &[("Authorization", &token)]).await;
    let id = agent.store.service(&blog).await.unwrap().id;
    agent.store.forget_service(id).await.unwrap();
    agent.service("blog").await;
    agent.events.publish(Event::Removed(blog));
    all_end(all, "not-found").await;
}
