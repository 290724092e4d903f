//! The agent is killed at each call that something makes of its host, before the host has done it and after, and started
//! anew: what was acknowledged is done, and nothing is left of the rest.

use std::time::Duration;

use podkeeper::names::{Actor, ServiceName};
use podkeeper::services::{EnvUpdate, ServiceError};
use podkeeper::store::{Cause, Deployment, DeploymentState, Desired, StoreError};
use secrecy::SecretString;

use super::hermetic::calls::{When, is_of};
use super::hermetic::{TestHost, until};

/// A few calls more than the same took when nothing was cut off: maintenance's come between.
const MORE: usize = 3;

/// Lets `begin` make its calls, and kills the agent at the one behind `skip` others. `goes_on` says whether what was begun
/// hasn't ended yet. False: there was no such call.
async fn killed_at<T: Send + 'static>(
    host: &mut TestHost,
    (skip, when): (usize, When),
    begin: impl Fn(&TestHost) -> tokio::task::JoinHandle<T>,
    goes_on: impl AsyncFn(&TestHost) -> bool,
) -> bool {
    let gate = host.calls.hold_nth(skip, when, |_| true);
    let begun = begin(host);
    let is_over = async || gate.is_reached() || (begun.is_finished() && !goes_on(host).await);
    until("the call comes, or all is over", is_over).await;
    let is_reached = gate.is_reached();
    host.kill().await;
    host.calls.clear();
    drop(gate);
    host.start_agent().await;
    is_reached
}

async fn has_unfinished(host: &TestHost, name: &ServiceName) -> bool {
    !host.parts().store.unfinished(name).await.unwrap().is_empty()
}

/// How many calls a deployment takes that nobody cuts off.
async fn calls_of_a_deployment(host: &TestHost, name: &ServiceName) -> usize {
    host.calls.take();
    assert_eq!(host.deploy(name, "").await.state, DeploymentState::Live);
    host.in_order().await;
    host.calls.count() + MORE
}

async fn a_push_is_live_wherever_its_agent_is_killed(when: When) {
    let mut host = TestHost::start().await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    let mut reached = 0;
    for skip in 0..calls_of_a_deployment(&host, &blog).await {
        let commit = host.commit(&blog, "");
        let (name, pushed) = (blog.clone(), commit.clone());
        let begin = |host: &TestHost| {
            let (name, moved) = (name.clone(), [("refs/heads/main".to_owned(), Some(pushed.clone()))]);
            host.begin(|parts| async move { parts.deploys.pushed(&name, &moved, Actor::GitPassword).await.is_ok() })
        };
        reached += usize::from(
            killed_at(&mut host, (skip, when), begin, async |host| has_unfinished(host, &blog).await).await,
        );
        // Whether its row was there or not: the branch has moved.
        until("it is queued", async || host.newest(&blog).await.commit.as_ref() == Some(&commit)).await;
        let ended = host.ended(&host.newest(&blog).await).await;
        assert_eq!(ended.state, DeploymentState::Live, "{when:?} call {skip}: {ended:?}");
        host.in_order().await;
        assert_eq!(host.routed(&blog).await, [ended.release.unwrap().0], "{when:?} call {skip}");
    }
    assert!(reached > 20, "only {reached} calls were reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_live_wherever_its_agent_is_killed_before_a_call() {
    a_push_is_live_wherever_its_agent_is_killed(When::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_live_wherever_its_agent_is_killed_after_a_call() {
    a_push_is_live_wherever_its_agent_is_killed(When::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_push_is_live_wherever_its_agent_is_killed() {
    let mut host = TestHost::start().await;
    let first = host.create("first").await;
    for skip in 0..calls_of_a_deployment(&host, &first).await {
        let when = if skip.is_multiple_of(2) { When::Before } else { When::After };
        let name = host.create(&format!("s{skip}")).await;
        let commit = host.commit(&name, "");
        let begin = |host: &TestHost| {
            let (name, moved) = (name.clone(), [("refs/heads/main".to_owned(), Some(commit.clone()))]);
            host.begin(|parts| async move { parts.deploys.pushed(&name, &moved, Actor::GitPassword).await.is_ok() })
        };
        killed_at(&mut host, (skip, when), begin, async |host| has_unfinished(host, &name).await).await;
        let queued = async || host.parts().store.deployments(&name, None, 1).await.unwrap().deployments;
        until("it is queued", async || !queued().await.is_empty()).await;
        let ended = host.ended(&host.newest(&name).await).await;
        assert_eq!(
            (ended.state, ended.commit),
            (DeploymentState::Live, Some(commit)),
            "{when:?} call {skip}: {:?}",
            ended.problem
        );
        host.in_order().await;
        let removing = host.ask(|parts| async move { parts.services.delete(&name, true, &Actor::GitPassword).await });
        removing.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_has_failed_wherever_its_agent_is_killed() {
    let mut host = TestHost::start().await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    for does in ["#! build fails 7", "#! start failed 1"] {
        host.calls.take();
        assert_eq!(host.deploy(&blog, does).await.state, DeploymentState::Failed);
        host.in_order().await;
        for skip in 0..host.calls.take().len() + MORE {
            let when = if skip.is_multiple_of(2) { When::Before } else { When::After };
            let commit = host.commit(&blog, does);
            let begin = |host: &TestHost| {
                let (name, moved) = (blog.clone(), [("refs/heads/main".to_owned(), Some(commit.clone()))]);
                host.begin(|parts| async move { parts.deploys.pushed(&name, &moved, Actor::GitPassword).await.is_ok() })
            };
            killed_at(&mut host, (skip, when), begin, async |host| has_unfinished(host, &blog).await).await;
            until("it is queued", async || host.newest(&blog).await.commit.as_ref() == Some(&commit)).await;
            let ended = host.ended(&host.newest(&blog).await).await;
            assert!(
                ended.state == DeploymentState::Failed && ended.problem.is_some(),
                "{does}, {when:?} call {skip}: {ended:?}"
            );
            host.in_order().await;
            assert_eq!(host.routed(&blog).await, [1], "{does}, {when:?} call {skip}");
        }
    }
}

/// A rollback that somebody asks for, and asks for again where no agent has told them of its row.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_done_wherever_its_agent_is_killed() {
    let mut host = TestHost::start().await;
    let blog = host.create("blog").await;
    for _ in 0..2 {
        assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    }
    let go_back = |host: &TestHost| {
        let name = blog.clone();
        host.begin(|parts| async move {
            let service = parts.store.find_service(&name).await?;
            let kept = parts.store.releases(service.id).await?.into_iter().map(|release| release.number);
            let before = kept.filter(|number| Some(*number) != service.current).max();
            parts.deploys.rollback(&name, before, Actor::GitPassword).await
        })
    };
    host.in_order().await;
    host.calls.take();
    let queued: Deployment = go_back(&host).await.unwrap().unwrap();
    assert_eq!(host.ended(&queued).await.state, DeploymentState::Live);
    host.in_order().await;
    for skip in 0..host.calls.take().len() + MORE {
        let when = if skip.is_multiple_of(2) { When::Before } else { When::After };
        let before = host.newest(&blog).await;
        killed_at(&mut host, (skip, when), go_back, async |host| has_unfinished(host, &blog).await).await;
        let mut newest = host.newest(&blog).await;
        if newest.id == before.id {
            newest = go_back(&host).await.unwrap().unwrap();
        }
        let ended = host.ended(&newest).await;
        assert_eq!(
            (ended.state, ended.cause),
            (DeploymentState::Live, Cause::Rollback),
            "{when:?} call {skip}: {ended:?}"
        );
        host.in_order().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_set_whole_wherever_the_agent_is_killed() {
    let mut host = TestHost::start().await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    let set = |host: &TestHost, value: &str| {
        let (name, value) = (blog.clone(), SecretString::from(value));
        let changes = [("KEY".parse().unwrap(), Some(value))].into();
        host.begin(
            |parts| async move { parts.services.update_env(&name, changes, false, true, Actor::GitPassword).await },
        )
    };
    host.in_order().await;
    host.calls.take();
    let EnvUpdate::Deployed(queued) = set(&host, "first").await.unwrap().unwrap() else { panic!("it runs") };
    assert_eq!(host.ended(&queued).await.state, DeploymentState::Live);
    host.in_order().await;
    for skip in 0..host.calls.take().len() + MORE {
        let when = if skip.is_multiple_of(2) { When::Before } else { When::After };
        let value = format!("value {skip}");
        killed_at(&mut host, (skip, when), |host| set(host, &value), async |host| has_unfinished(host, &blog).await)
            .await;
        if let EnvUpdate::Deployed(queued) = set(&host, &value).await.unwrap().unwrap() {
            assert_eq!(host.ended(&queued).await.state, DeploymentState::Live);
        }
        host.in_order().await;
        let has = host.ask({
            let name = blog.clone();
            move |parts| async move { parts.services.read_env(&name).await }
        });
        let has = has.await.unwrap();
        assert!(has.values().all(|known| secrecy::ExposeSecret::expose_secret(known) == value), "{when:?} call {skip}");
        assert!(host.secrets_of(&blog).contains(&value), "{when:?} call {skip}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_stopped_or_removed_wherever_the_agent_is_killed() {
    let mut host = TestHost::start().await;
    let does = "#! volume /data";
    let remove = |host: &TestHost, name: &ServiceName, volumes: bool| {
        let name = name.clone();
        host.begin(move |parts| async move {
            parts.services.stop(&name, &Actor::GitPassword).await?;
            parts.services.delete(&name, volumes, &Actor::GitPassword).await
        })
    };
    let mut calls = None;
    let mut skip = 0_usize;
    while calls.is_none_or(|calls| skip < calls) {
        let when = if skip.is_multiple_of(2) { When::Before } else { When::After };
        let volumes = skip.is_multiple_of(3);
        let name = host.create(&format!("s{skip}")).await;
        assert_eq!(host.deploy(&name, does).await.state, DeploymentState::Live);
        host.in_order().await;
        host.calls.take();
        if calls.is_none() {
            remove(&host, &name, volumes).await.unwrap().unwrap();
            calls = Some(host.calls.count() + MORE);
            continue_after(&host, &name, volumes).await;
            continue;
        }
        killed_at(&mut host, (skip, when), |host| remove(host, &name, volumes), async |_| false).await;
        match host.parts().store.find_service(&name).await {
            // Maintenance ends what was begun.
            Ok(service) if service.desired.is_deleted() => {}
            Ok(service) => {
                assert!(matches!(service.desired, Desired::Running | Desired::Stopped));
                remove(&host, &name, volumes).await.unwrap().unwrap();
            }
            Err(StoreError::NoService(_)) => {}
            Err(error) => panic!("{error}"),
        }
        continue_after(&host, &name, volumes).await;
        skip += 1;
    }
}

/// Nothing is left of the service but its volumes, where they were to stay.
async fn continue_after(host: &TestHost, name: &ServiceName, volumes: bool) {
    host.in_order().await;
    assert!(host.parts().store.find_service(name).await.is_err());
    let kept: Vec<String> =
        host.world().volumes.iter().filter(|volume| volume.starts_with(&format!("{name}."))).cloned().collect();
    assert_eq!(kept.is_empty(), volumes, "{name}: {kept:?}");
}

/// Between the routes and the row that tells of them no call is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_ended_by_the_next_agent() {
    let mut host = TestHost::start_with(|config| config.services.settle = Duration::from_secs(3600)).await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    let queued = host.push(&blog, "").await;
    until("both have a route", async || host.routed(&blog).await.len() == 2).await;
    host.kill().await;
    host.config.services.settle = Duration::from_millis(1);
    host.config.services.drain = Duration::from_secs(3600);
    host.start_agent().await;
    assert_eq!(host.ended(&queued).await.state, DeploymentState::Live);
    assert_eq!(host.routed(&blog).await, [2]);
    // And so is what clears up behind it.
    assert_eq!(host.world().ports.len(), 2, "the old release drains");
    host.kill().await;
    host.config.services.drain = Duration::from_millis(1);
    host.start_agent().await;
    host.in_order().await;
}

/// The build goes on without an agent, and its permit is kept by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_goes_on_while_no_agent_is_there() {
    let mut host = TestHost::start().await;
    let blog = host.create("blog").await;
    let mut gate = host.calls.hold(When::After, is_of("StartTransientUnit", "build-"));
    let queued = host.push(&blog, "").await;
    gate.reached().await;
    host.kill().await;
    drop(gate);
    host.calls.take();
    host.start_agent().await;
    let ended = host.ended(&queued).await;
    assert_eq!(ended.state, DeploymentState::Live, "{:?}", ended.problem);
    let builds =
        host.calls.take().into_iter().filter(|call| call.what == "StartTransientUnit" && call.of.starts_with("build-"));
    assert_eq!(builds.count(), 0, "it is the same build");
    host.in_order().await;
}

/// What a restart of the host leaves is what starts at boot.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_started_anew_has_what_it_had() {
    let mut host = TestHost::start().await;
    let (blog, shop) = (host.create("blog").await, host.create("shop").await);
    for name in [&blog, &shop] {
        assert_eq!(host.deploy(name, "").await.state, DeploymentState::Live);
    }
    let stop = |parts: podkeeper::agent::Parts| async move { parts.services.stop(&shop, &Actor::GitPassword).await };
    let stopped: Result<_, ServiceError> = host.ask(stop).await;
    stopped.unwrap();
    let queued = host.push(&blog, "#! build never").await;
    host.is_at(&queued, DeploymentState::Building).await;
    host.kill().await;
    host.manager().boot().await;
    assert_eq!(host.world().containers.keys().collect::<Vec<_>>(), ["blog-1"]);
    let mut gate = host.calls.hold(When::After, is_of("StartTransientUnit", "build-"));
    host.start_agent().await;
    // Its build went with the host, and is begun again.
    gate.reached().await;
    gate.open();
    let id = queued.id;
    let cancelled = host.ask(move |parts| async move { parts.deploys.cancel(id).await }).await.unwrap();
    assert_eq!(cancelled.state, DeploymentState::Cancelled);
    host.in_order().await;
    assert_eq!(host.routed(&blog).await, [1]);
}
