//! Podman or systemd refuses a call, cuts it off, or is away for a while: a deployment ends as its row says, what ran before
//! goes on, nothing is left, and the next one is live.

use std::time::Duration;

use podkeeper::names::{Actor, ServiceName};
use podkeeper::store::DeploymentState;

use super::hermetic::TestHost;
use super::hermetic::calls::{When, is, is_of};

/// A few calls more than the same took when nothing failed: maintenance's come between.
const MORE: usize = 3;

/// What a deployment comes to at each of whose calls `fail` does something, and how often it was live.
async fn at_each_call(host: &TestHost, name: &ServiceName, fail: impl Fn(&TestHost, usize)) -> (usize, usize) {
    host.in_order().await;
    host.calls.take();
    assert_eq!(host.deploy(name, "").await.state, DeploymentState::Live);
    host.in_order().await;
    let (mut live, mut failed) = (0, 0);
    for at in 0..host.calls.take().len() + MORE {
        let before = host.routed(name).await;
        fail(host, at);
        let ended = host.deploy(name, "").await;
        host.calls.clear();
        host.in_order().await;
        let said = format!("call {at}: {ended:?}, {:?}", host.calls.take());
        match ended.state {
            DeploymentState::Live => {
                assert_eq!(host.routed(name).await, [ended.release.unwrap().0], "{said}");
                live += 1;
            }
            DeploymentState::Failed => {
                assert!(ended.problem.is_some(), "{said}");
                assert_eq!(host.routed(name).await, before, "{said}");
                failed += 1;
            }
            _ => panic!("{said}"),
        }
    }
    assert_eq!(host.deploy(name, "").await.state, DeploymentState::Live);
    (live, failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_is_refused_once() {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    let (live, failed) = at_each_call(&host, &blog, |host, at| host.calls.refuse_nth(at)).await;
    // Podman's refusals are why a deployment fails; systemd's may pass, and what is cleared up is cleared up later.
    assert!(live > failed && failed > 2, "{live} were live, and {failed} failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_is_cut_off_once_before_it_is_carried_out() {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    let (_, failed) = at_each_call(&host, &blog, |host, at| host.calls.cut_nth(at, When::Before)).await;
    assert_eq!(failed, 0, "what is away for a moment is no reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_is_cut_off_once_when_it_was_carried_out() {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    let (_, failed) = at_each_call(&host, &blog, |host, at| host.calls.cut_nth(at, When::After)).await;
    assert_eq!(failed, 0, "what is away for a moment is no reason");
}

/// What can't be undone at once is undone later.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_cleared_away_goes_when_it_can() {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    for (what, does) in [
        ("DELETE images/{}", "#! start failed 1"),
        ("DELETE containers/{}", "#! start failed 1"),
        ("StopUnit", "#! answers nothing"),
        ("ResetFailedUnit", "#! start failed 1"),
        ("Reload", "#! start failed 1"),
    ] {
        let mut settings = host.service(&blog).await.settings;
        settings.health_timeout = Some(1);
        let name = blog.clone();
        let set = host
            .ask(move |parts| async move { parts.services.change_settings(&name, None, move |_| Ok(settings)).await });
        set.await.unwrap();
        let mut gate = host.calls.hold(When::After, is_of("StartUnit", "blog@"));
        let queued = host.push(&blog, does).await;
        gate.reached().await;
        host.calls.refuse(4, is(what));
        gate.open();
        let ended = host.ended(&queued).await;
        assert_eq!(ended.state, DeploymentState::Failed, "{what}: {ended:?}");
        host.in_order().await;
        host.calls.clear();
        assert_eq!(host.routed(&blog).await, [1], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_podman_or_a_bus_that_is_away_for_a_while_is_waited_for() {
    let mut host = TestHost::start().await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    // When a release is started it needs Podman no more.
    for (what, podman) in [("StartTransientUnit", true), ("StartTransientUnit", false), ("StartUnit", false)] {
        let mut gate = host.calls.hold(When::After, is(what));
        let queued = host.push(&blog, "").await;
        gate.reached().await;
        if podman {
            host.podman.go();
        } else {
            host.systemd.go();
        }
        drop(gate);
        tokio::time::sleep(Duration::from_millis(30)).await;
        let row = host.parts().store.deployment(queued.id).await.unwrap();
        assert!(!row.state.is_final(), "{what}, {podman}: {row:?}");
        if podman {
            host.podman.come_back();
        } else {
            host.systemd.come_back();
        }
        let ended = host.ended(&queued).await;
        assert_eq!(ended.state, DeploymentState::Live, "{what}, {podman}: {:?}", ended.problem);
        host.in_order().await;
    }
}

/// A host whose Podman or systemd never comes back is given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_podman_that_stays_away_is_given_up() {
    let mut host = TestHost::start_with(|config| config.waits.absence = Duration::from_millis(30)).await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    host.podman.go();
    let ended = host.deploy(&blog, "").await;
    let problem = ended.problem.unwrap();
    assert_eq!((ended.state, problem.code), (DeploymentState::Failed, podkeeper::problem::Code::PodmanUnavailable));
    assert_eq!(host.routed(&blog).await, [1]);
    host.podman.come_back();
    host.in_order().await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
}

/// Nothing that people ask for is done by half because a call was refused: who is told so asks again.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_whose_calls_are_refused_is_ended() {
    let host = TestHost::start().await;
    let mut at = 0;
    loop {
        let name = host.create(&format!("s{at}")).await;
        assert_eq!(host.deploy(&name, "#! volume /data").await.state, DeploymentState::Live);
        host.in_order().await;
        host.calls.take();
        host.calls.refuse_nth(at);
        let (removed, gone) = (name.clone(), at);
        let done = host
            .ask(move |parts| async move { parts.services.delete(&removed, gone % 2 == 0, &Actor::GitPassword).await });
        let was_refused = done.await.is_err();
        let calls = host.calls.take().len();
        host.calls.clear();
        host.in_order().await;
        assert!(host.parts().store.find_service(&name).await.is_err(), "call {at}");
        let volumes = host.world().volumes.iter().filter(|volume| volume.starts_with(&format!("{name}."))).count();
        assert_eq!(volumes == 0, at % 2 == 0, "call {at}");
        at += 1;
        if !was_refused && at > calls {
            break;
        }
    }
    assert!(at > 10, "a removal made only {at} calls");
}
