//! What was asked for is done whole or not at all, whatever the client, the clock or the disk do.

use podkeeper::names::Actor;
use podkeeper::store::{Cause, Deployment, Desired, NewDeployment, State};

use super::support::{PATIENCE, TestAgent};

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
