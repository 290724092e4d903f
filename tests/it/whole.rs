//! What was asked for is done whole or not at all, whatever the client, the clock or the disk do.

use futures_util::future::join_all;
use podkeeper::names::{Actor, Scope};
use podkeeper::store::{Cause, Deployment, Desired, NewDeployment, State};
use secrecy::ExposeSecret;

use super::support::{PATIENCE, TestAgent, request};

/// A deployment that is under way, which no slot carries out yet.
async fn under_way(agent: &TestAgent) -> Deployment {
    let new = NewDeployment {
        service: agent.service("blog").await,
        cause: Cause::Start,
        actor: Actor::Agent,
        commit: None,
        from_release: None,
        env: None,
    };
    let (deployment, _) = agent.store.request_deployment(new).await.unwrap();
    agent.store.step(deployment.id, State::Building, None).await.unwrap()
}

/// The regular look, until the test ends.
fn look_after(agent: &TestAgent) {
    let deploys = agent.deploys.clone();
    tokio::spawn(async move { deploys.maintain().await });
}

#[tokio::test]
async fn a_stop_is_done_though_the_agent_died_before_it_cancelled_anything() {
    let agent = TestAgent::start().await;
    let deployment = under_way(&agent).await;
    agent.store.end_service(&deployment.service, Desired::Stopped).await.unwrap();
    look_after(&agent);
    let ended = agent.deploys.wait(deployment.id, PATIENCE).await.unwrap();
    assert_eq!(ended.state, State::Cancelled);
}

#[tokio::test]
async fn of_changes_at_once_none_is_lost() {
    let agent = TestAgent::start().await;
    let name = agent.service("blog").await;
    let token = agent.token("test", Scope::Admin, None).await;
    let bearer = format!("Bearer {}", token.expose_secret());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    // They can all look, and none can write before all have.
    let database = agent.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let patches = [r#"{"keep":7}"#, r#"{"memory_mib":64}"#, r#"{"volumes":{"a":"/a"}}"#, r#"{"volumes":{"b":"/b"}}"#];
    let asked: Vec<_> = patches.iter().map(|patch| request("PATCH", "/services/blog", &headers, patch)).collect();
    let asking = join_all(asked.iter().map(|patch| agent.ask(patch)));
    let writing = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        database.execute_batch("COMMIT").unwrap();
    };
    tokio::join!(asking, writing);
    let settings = agent.store.service(&name).await.unwrap().settings;
    assert_eq!((settings.keep, settings.memory_mib, settings.volumes.iter().count()), (Some(7), Some(64), 2));
}
