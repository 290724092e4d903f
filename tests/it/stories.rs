//! A deployment's story that has no end in the journal, as an agent leaves it that is killed between the row and the line.

use std::time::Duration;

use podkeeper::names::{Actor, DeploymentId, Scope};
use podkeeper::store::{Cause, DeploymentState, NewDeployment};
use secrecy::ExposeSecret;

use super::support::{PATIENCE, TestAgent, request};

/// An agent with one deployment that was superseded, of which its journal, which is empty, tells nothing.
async fn with_a_superseded_one(patience: Duration) -> (TestAgent, DeploymentId) {
    let agent = TestAgent::start_with(|config| config.limits.journal = patience).await;
    let service = agent.service("blog").await;
    let start = || NewDeployment {
        service: service.clone(),
        cause: Cause::Start,
        actor: Actor::Agent,
        commit: None,
        from_release: None,
        env: None,
    };
    let (first, _) = agent.store.request_deployment(start()).await.unwrap();
    agent.store.request_deployment(start()).await.unwrap();
    assert_eq!(agent.store.deployment(first.id).await.unwrap().state, DeploymentState::Superseded);
    (agent, first.id)
}

/// Reads the story to its end.
async fn read(agent: &TestAgent, id: DeploymentId) {
    let token = agent.token("reader", Scope::Read, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let log = request("GET", &format!("/deployments/{id}/log"), &[("Authorization", &bearer)], "");
    let answer = agent.ask(&log).await;
    assert_eq!((answer.status, answer.body.trim_end_matches("0\r\n\r\n")), (200, ""), "{answer:?}");
}

#[tokio::test]
async fn the_end_that_never_comes_is_waited_for_as_long_as_it_may_take() {
    let (agent, id) = with_a_superseded_one(Duration::from_millis(100)).await;
    read(&agent, id).await;
}

#[tokio::test]
async fn one_that_ended_long_ago_is_over_when_all_is_read() {
    let (agent, id) = with_a_superseded_one(PATIENCE * 2).await;
    agent.database().execute("UPDATE deployments SET finished = 1 WHERE id = ?1", [id.0]).unwrap();
    read(&agent, id).await;
}
