//! How a service's program runs: without a port, alone, with an init; and what is told where it does not.

use podkeeper::names::{Actor, ContainerPort, ServiceName, StopSignal, Strategy};
use podkeeper::problem::Code;
use podkeeper::services::spec;
use podkeeper::store::{DeploymentState, Settings};

use super::hermetic::calls::{When, is_of};
use super::hermetic::{TestHost, until};

async fn set(host: &TestHost, name: &ServiceName, change: impl FnOnce(&mut Settings) + Send + 'static) {
    let name = name.clone();
    let set = host.ask(move |parts| async move {
        let change = move |mut settings: Settings| {
            change(&mut settings);
            Ok(settings)
        };
        parts.services.change_settings(&name, None, change).await
    });
    set.await.unwrap();
}

fn file(host: &TestHost, unit: &str) -> String {
    host.world().files.get(unit).cloned().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_live_when_it_goes_on_and_has_no_address() {
    let host = TestHost::start().await;
    let bot = host.create("bot").await;
    set(&host, &bot, |settings| settings.container_port = Some(ContainerPort::None)).await;
    assert_eq!(spec::url(&host.service(&bot).await, &host.config), None, "nor will it");
    let ended = host.deploy(&bot, "#! answers nothing").await;
    assert_eq!(ended.state, DeploymentState::Live, "{:?}", ended.problem);
    host.in_order().await;
    assert!(host.routed(&bot).await.is_empty());
    let text = file(&host, "bot@1.service");
    assert!(!text.contains("PublishPort") && !text.contains("PORT="), "{text}");
    // An image's own health check counts all the same.
    assert_eq!(host.deploy(&bot, "#! answers nothing\n#! check passes").await.state, DeploymentState::Live);
    for (does, code) in [
        ("#! crashes 3", Code::StartFailed),
        ("#! crashes 0", Code::StartFailed),
        ("#! start failed 1", Code::StartFailed),
        ("#! check fails", Code::Unhealthy),
    ] {
        let ended = host.deploy(&bot, does).await;
        assert_eq!(ended.problem.map(|problem| problem.code), Some(code), "{does}");
        host.in_order().await;
    }
    // And back again: the address comes with the release, and goes with it.
    let url = async |name| spec::url(&host.service(name).await, &host.config);
    set(&host, &bot, |settings| settings.container_port = None).await;
    assert_eq!(url(&bot).await, None);
    assert_eq!(host.deploy(&bot, "").await.state, DeploymentState::Live);
    assert!(url(&bot).await.is_some() && host.routed(&bot).await.len() == 1);
    set(&host, &bot, |settings| settings.container_port = Some(ContainerPort::None)).await;
    assert!(url(&bot).await.is_some(), "it still serves");
    assert_eq!(host.deploy(&bot, "#! answers nothing").await.state, DeploymentState::Live);
    host.in_order().await;
    assert!(url(&bot).await.is_none() && host.routed(&bot).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_has_an_init_and_stops_as_it_is_set() {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    host.deploy(&blog, "").await;
    let text = file(&host, "blog@1.service");
    assert!(
        text.contains("\nRunInit=true\n") && text.contains("\nTimeoutStopSec=20\n") && !text.contains("StopSignal")
    );
    set(&host, &blog, |settings| (settings.stop_timeout, settings.stop_signal) = (Some(60), Some(StopSignal::Quit)))
        .await;
    host.deploy(&blog, "#! command /usr/bin/tini -- server").await;
    let text = file(&host, "blog@2.service");
    assert!(!text.contains("RunInit"), "its image has one: {text}");
    for line in ["StopTimeout=60", "StopSignal=SIGQUIT", "TimeoutStopSec=70"] {
        assert!(text.lines().any(|own| own == line), "{line} in {text}");
    }
}

const DATABASE: &str = "#! env PGDATA=/var/lib/postgresql/data\n#! volume /var/lib/postgresql/data";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_never_runs_twice() {
    let host = TestHost::start().await;
    let db = host.create("db").await;
    for number in [1, 2] {
        assert_eq!(host.deploy(&db, DATABASE).await.state, DeploymentState::Live);
        host.in_order().await;
        assert_eq!(host.routed(&db).await, [number]);
    }
    assert!(host.world().together.is_empty());
    // What ran is there again where the next is none.
    for does in ["#! start failed 1", "#! crashes 1", "#! build fails 1"] {
        let ended = host.deploy(&db, &format!("{DATABASE}\n{does}")).await;
        assert_eq!(ended.state, DeploymentState::Failed, "{does}");
        host.in_order().await;
        assert_eq!((host.routed(&db).await, host.world().units["db@2.service"].active), (vec![2], "active"), "{does}");
    }
    // Neither is a release alone with one from before it had to be.
    set(&host, &db, |settings| settings.strategy = Some(Strategy::Rolling)).await;
    assert_eq!(host.deploy(&db, DATABASE).await.state, DeploymentState::Live);
    host.in_order().await;
    assert!(host.world().together.is_empty(), "{:?}", host.world().together);
    // From then on it is as somebody has set it.
    assert_eq!(host.deploy(&db, DATABASE).await.state, DeploymentState::Live);
    host.in_order().await;
    assert_eq!(host.world().together.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stopped_by_hand_is_not_started_by_a_deployment_that_fails() {
    let host = TestHost::start().await;
    let db = host.create("db").await;
    assert_eq!(host.deploy(&db, DATABASE).await.state, DeploymentState::Live);
    host.manager().stop("db@1.service").await;
    assert_eq!(host.deploy(&db, &format!("{DATABASE}\n#! start failed 1")).await.state, DeploymentState::Failed);
    assert!(host.world().units.get("db@1.service").is_none_or(|unit| unit.active != "active"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_deployment_gives_what_made_way_its_place_back() {
    let host = TestHost::start().await;
    let db = host.create("db").await;
    assert_eq!(host.deploy(&db, DATABASE).await.state, DeploymentState::Live);
    let mut gate = host.calls.hold(When::Before, is_of("StopUnit", "db@1"));
    let queued = host.push(&db, DATABASE).await;
    gate.reached().await;
    let id = queued.id;
    let cancelled = host.begin(move |parts| async move { parts.deploys.cancel(id).await });
    drop(gate);
    cancelled.await.unwrap().unwrap();
    assert_eq!(host.ended(&queued).await.state, DeploymentState::Cancelled);
    host.in_order().await;
    until("it runs again", async || host.world().units.get("db@1.service").is_some_and(|unit| unit.active == "active"))
        .await;
    assert_eq!(host.routed(&db).await, [1]);
    assert!(host.world().together.is_empty());
}

/// What it is that a new database comes to, at each call that its deployment makes.
async fn killed_at_each_call(does: &str, ends: DeploymentState) {
    let mut host = TestHost::start().await;
    let db = host.create("db").await;
    assert_eq!(host.deploy(&db, DATABASE).await.state, DeploymentState::Live);
    let containerfile = format!("{DATABASE}\n{does}");
    host.in_order().await;
    host.calls.take();
    assert_eq!(host.deploy(&db, &containerfile).await.state, ends);
    host.in_order().await;
    for skip in 0..host.calls.count() + 3 {
        let when = if skip.is_multiple_of(2) { When::Before } else { When::After };
        let before = host.service(&db).await.current.unwrap();
        let commit = host.commit(&db, &containerfile);
        let gate = host.calls.hold_nth(skip, when, |_| true);
        let (name, moved) = (db.clone(), [("refs/heads/main".to_owned(), Some(commit.clone()))]);
        let pushing =
            host.begin(|parts| async move { parts.deploys.pushed(&name, &moved, Actor::GitPassword).await.is_ok() });
        let is_over = async || {
            gate.is_reached() || (pushing.is_finished() && host.parts().store.unfinished(&db).await.unwrap().is_empty())
        };
        until("the call comes, or all is over", is_over).await;
        host.kill().await;
        host.calls.clear();
        drop(gate);
        host.start_agent().await;
        until("it is queued", async || host.newest(&db).await.commit.as_ref() == Some(&commit)).await;
        let ended = host.ended(&host.newest(&db).await).await;
        assert_eq!(ended.state, ends, "{when:?} call {skip}: {ended:?}");
        host.in_order().await;
        let has = if ends == DeploymentState::Live { ended.release.unwrap() } else { before };
        assert_eq!(host.routed(&db).await, [has.0], "{when:?} call {skip}");
        let unit = format!("db@{has}.service");
        assert_eq!(host.world().units[&unit].active, "active", "{when:?} call {skip}");
        assert!(host.world().together.is_empty(), "{when:?} call {skip}: two ran");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_takes_the_others_place_wherever_the_agent_is_killed() {
    killed_at_each_call("", DeploymentState::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_gives_the_place_back_wherever_the_agent_is_killed() {
    killed_at_each_call("#! start failed 1", DeploymentState::Failed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_cut_off_between_two_databases_has_one() {
    let mut host = TestHost::start().await;
    let db = host.create("db").await;
    assert_eq!(host.deploy(&db, DATABASE).await.state, DeploymentState::Live);
    let mut gate = host.calls.hold(When::After, is_of("StartUnit", "db@2"));
    let queued = host.push(&db, DATABASE).await;
    gate.reached().await;
    host.kill().await;
    drop(gate);
    host.manager().boot().await;
    host.start_agent().await;
    assert_eq!(host.ended(&queued).await.state, DeploymentState::Live);
    host.in_order().await;
    assert_eq!(host.routed(&db).await, [2]);
    assert!(host.world().together.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kernel_has_ended_for_want_of_memory_is_told_so() {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    set(&host, &blog, |settings| settings.memory_mib = Some(64)).await;
    let ended = host.deploy(&blog, "#! start oom-kill 137").await;
    let problem = ended.problem.unwrap();
    assert!(problem.detail.contains("memory limit of 64 MiB"), "{problem:?}");
    assert!(problem.hint.is_some_and(|hint| hint.contains("memory_mib=")));
    let ended = host.deploy(&blog, "#! build fails 137").await;
    let problem = ended.problem.unwrap();
    assert!(problem.detail.contains("1024 MiB"), "{problem:?}");
    assert!(problem.hint.is_some_and(|hint| hint.contains("builds.memory_mib")));
}
