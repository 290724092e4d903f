//! Whole deployments, from a push to the traffic, on a host that does what the pushed commit says.

use std::time::Duration;

use podkeeper::names::{Actor, DeploymentId, Scope, ServiceName};
use podkeeper::problem::Code;
use podkeeper::services::EnvUpdate;
use podkeeper::services::status::Condition;
use podkeeper::store::{Cause, Deployment, DeploymentState, Grant, Settings};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::hermetic::calls::{Gate, When, is, is_of};
use super::hermetic::{TestHost, until};
use super::support::{raw, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_live_and_the_next_one_takes_its_place() {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    for number in [1, 2, 3] {
        let ended = host.deploy(&blog, "").await;
        assert_eq!((ended.state, ended.release.unwrap().0), (DeploymentState::Live, number), "{ended:?}");
        host.in_order().await;
        assert_eq!(host.routed(&blog).await, [number]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_says_why_and_what_ran_before_goes_on() {
    let host = TestHost::start_with(|config| config.services.health_timeout = Duration::from_secs(1)).await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    for (does, code) in [
        ("#! build fails 7", Code::BuildFailed),
        ("#! build timeout", Code::BuildTimeout),
        ("#! build no-image", Code::BuildFailed),
        ("#! start failed 1", Code::StartFailed),
        ("#! start timeout", Code::Unhealthy),
        ("#! start dependency", Code::StartFailed),
        ("#! start canceled", Code::StartFailed),
        ("#! answers nothing", Code::Unhealthy),
        ("#! crashes 3", Code::StartFailed),
        ("#! check fails", Code::Unhealthy),
    ] {
        let ended = host.deploy(&blog, does).await;
        let problem = ended.problem.clone().map(|problem| problem.code);
        assert_eq!((ended.state, problem), (DeploymentState::Failed, Some(code)), "{does}: {ended:?}");
        host.in_order().await;
        assert_eq!(host.routed(&blog).await, [1], "{does}");
    }
}

/// A host with a live release of `blog`.
async fn live() -> (TestHost, ServiceName) {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    host.in_order().await;
    (host, blog)
}

async fn cancel(host: &TestHost, deployment: &Deployment) -> Deployment {
    let id = deployment.id;
    host.ask(move |parts| async move { parts.deploys.cancel(id).await }).await.unwrap()
}

async fn stop(host: &TestHost, name: &ServiceName) {
    let name = name.clone();
    host.ask(move |parts| async move { parts.services.stop(&name, &Actor::GitPassword).await }).await.unwrap();
}

async fn start(host: &TestHost, name: &ServiceName) -> Deployment {
    let name = name.clone();
    let asked =
        host.ask(move |parts| async move { parts.deploys.build(&name, Cause::Start, Actor::GitPassword, None).await });
    asked.await.unwrap()
}

async fn roll_back(host: &TestHost, name: &ServiceName) -> Deployment {
    let name = name.clone();
    let asked = host.ask(move |parts| async move { parts.deploys.rollback(&name, None, Actor::GitPassword).await });
    let queued = asked.await.unwrap();
    host.ended(&queued).await
}

async fn set_env(host: &TestHost, name: &ServiceName, key: &str, value: Option<&str>) -> EnvUpdate {
    let (name, changes) = (name.clone(), [(key.parse().unwrap(), value.map(SecretString::from))].into());
    let asked = host.ask(move |parts| async move {
        parts.services.update_env(&name, changes, false, true, Actor::GitPassword).await
    });
    asked.await.unwrap()
}

async fn env(host: &TestHost, name: &ServiceName) -> Vec<(String, String)> {
    let name = name.clone();
    let env = host.ask(move |parts| async move { parts.services.read_env(&name).await }).await.unwrap();
    env.iter().map(|(key, value)| (key.to_string(), value.expose_secret().to_owned())).collect()
}

/// Lets a deployment come to a state and stay there.
async fn held(host: &TestHost, blog: &ServiceName, state: DeploymentState) -> (Deployment, Option<Gate>) {
    let (does, held) = match state {
        DeploymentState::Fetching => ("", Some(is_of("StopUnit", "build-"))),
        DeploymentState::Building => ("#! build never", None),
        DeploymentState::Starting => ("", Some(is_of("StartUnit", "blog@"))),
        _ => ("#! answers nothing", None),
    };
    let mut gate = held.map(|held| host.calls.hold(When::Before, held));
    let queued = host.push(blog, does).await;
    if let Some(gate) = &mut gate {
        gate.reached().await;
    }
    host.is_at(&queued, state).await;
    (queued, gate)
}

const BEGUN: [DeploymentState; 4] =
    [DeploymentState::Fetching, DeploymentState::Building, DeploymentState::Starting, DeploymentState::Checking];

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_cancelled_wherever_it_is() {
    let (host, blog) = live().await;
    for state in BEGUN {
        let (queued, _gate) = held(&host, &blog, state).await;
        let ended = cancel(&host, &queued).await;
        assert_eq!(
            (ended.state, ended.problem.unwrap().code),
            (DeploymentState::Cancelled, Code::Cancelled),
            "{state:?}"
        );
        host.in_order().await;
        assert_eq!(host.routed(&blog).await, [1], "{state:?}");
    }
    // One that waits for another service's build.
    let shop = host.create("shop").await;
    let (first, _) = held(&host, &shop, DeploymentState::Building).await;
    let waits = host.push(&blog, "").await;
    assert_eq!(cancel(&host, &waits).await.state, DeploymentState::Cancelled);
    assert_eq!(cancel(&host, &first).await.state, DeploymentState::Cancelled);
    host.in_order().await;
}

/// What has the traffic by then is live.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_comes_too_late_for_what_has_the_traffic() {
    let (host, blog) = live().await;
    let mut gate = host.calls.hold_nth(1, When::Before, is("Reload"));
    let queued = host.push(&blog, "").await;
    gate.reached().await;
    let id = queued.id;
    let cancelling = host.begin(move |parts| async move { parts.deploys.cancel(id).await });
    gate.open();
    assert_eq!(cancelling.await.unwrap().unwrap().state, DeploymentState::Live);
    host.in_order().await;
    assert_eq!(host.routed(&blog).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_that_wait_the_newest_alone_is_built() {
    let (host, blog) = live().await;
    let (first, _) = held(&host, &blog, DeploymentState::Building).await;
    let waits = [host.push(&blog, "").await, host.push(&blog, "").await, host.push(&blog, "").await];
    assert_eq!(host.ended(&waits[0]).await.state, DeploymentState::Superseded);
    assert_eq!(host.ended(&waits[1]).await.state, DeploymentState::Superseded);
    assert_eq!(cancel(&host, &first).await.state, DeploymentState::Cancelled);
    let ended = host.ended(&waits[2]).await;
    assert_eq!(ended.state, DeploymentState::Live);
    host.in_order().await;
    assert_eq!(host.routed(&blog).await, [ended.release.unwrap().0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_what_is_under_way_and_a_start_builds_it_again() {
    let (host, blog) = live().await;
    for state in BEGUN {
        let (queued, _gate) = held(&host, &blog, state).await;
        stop(&host, &blog).await;
        assert_eq!(host.ended(&queued).await.state, DeploymentState::Cancelled, "{state:?}");
        host.in_order().await;
        assert!(host.routed(&blog).await.is_empty(), "{state:?}");
        host.commit(&blog, "");
        let started = start(&host, &blog).await;
        assert_eq!(host.ended(&started).await.state, DeploymentState::Live, "{state:?}");
        host.in_order().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_back_has_the_release_before_with_its_variables() {
    let (host, blog) = live().await;
    let first = host.newest(&blog).await.commit;
    for (value, release) in [("one", 2), ("two", 3)] {
        let EnvUpdate::Deployed(queued) = set_env(&host, &blog, "KEY", Some(value)).await else { panic!("it runs") };
        let ended = host.ended(&queued).await;
        assert_eq!((ended.state, ended.release.unwrap().0), (DeploymentState::Live, release));
        host.in_order().await;
    }
    let mut secrets = host.secrets_of(&blog);
    secrets.sort();
    assert_eq!(secrets, ["one", "two"], "each release has its own");
    let back = roll_back(&host, &blog).await;
    assert_eq!((back.state, back.release.unwrap().0), (DeploymentState::Live, 4));
    assert_eq!(env(&host, &blog).await, [("KEY".to_owned(), "one".to_owned())]);
    assert!(matches!(set_env(&host, &blog, "KEY", Some("one")).await, EnvUpdate::Same));
    host.in_order().await;
    let service = host.service(&blog).await;
    let release = host.parts().store.release(service.id, service.current.unwrap()).await.unwrap();
    assert_eq!(release.commit, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_count_where_they_are_said_to() {
    let (host, blog) = live().await;
    let change = async |change: fn(&mut Settings)| {
        let name = blog.clone();
        let changing = host.ask(move |parts| async move {
            let change = move |mut settings: Settings| {
                change(&mut settings);
                Ok(settings)
            };
            parts.services.change_settings(&name, None, change).await
        });
        changing.await.unwrap()
    };
    // A domain leads to what runs, at once, and no longer where it is taken away.
    change(|settings| settings.domains = vec!["blog.example.org".parse().unwrap()]).await;
    host.in_order().await;
    assert!(host.folder.path().join("routes/blog.example.org").exists());
    change(|settings| settings.domains.clear()).await;
    host.in_order().await;
    assert!(!host.folder.path().join("routes/blog.example.org").exists());
    // Fewer releases are kept at once.
    for _ in 0..3 {
        assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    }
    change(|settings| settings.keep = Some(1)).await;
    // Behind what clears up after the last deployment, which nobody waits for.
    until("one release is kept", async || host.world().images.len() == 1).await;
    host.in_order().await;
    // A limit is the next release's.
    change(|settings| settings.memory_mib = Some(64)).await;
    let unit = |number| format!("blog@{number}.service");
    assert!(!host.world().files[&unit(4)].contains("MemoryMax"));
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    assert!(host.world().files[&unit(5)].contains("MemoryMax=64M"));
    host.in_order().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_ends_what_is_under_way_and_leaves_nothing_but_volumes() {
    for (volumes, state) in
        [(true, None), (false, None), (true, Some(DeploymentState::Building)), (false, Some(DeploymentState::Checking))]
    {
        let host = TestHost::start().await;
        let blog = host.create("blog").await;
        assert_eq!(host.deploy(&blog, "#! volume /data").await.state, DeploymentState::Live);
        set_env(&host, &blog, "KEY", Some("value")).await;
        let begun = match state {
            Some(state) => Some(held(&host, &blog, state).await),
            None => None,
        };
        let name = blog.clone();
        let removing =
            host.ask(move |parts| async move { parts.services.delete(&name, volumes, &Actor::GitPassword).await });
        let removed = removing.await.unwrap();
        drop(begun);
        host.in_order().await;
        assert!(host.world().secrets.is_empty() && host.world().images.values().all(|image| image.names.is_empty()));
        assert_eq!((host.world().volumes.is_empty(), removed.kept.is_empty()), (volumes, volumes));
        // The name can be had again, and has nothing of the old one.
        let again = host.create("blog").await;
        assert_eq!(host.deploy(&again, "").await.release.unwrap().0, 1);
        host.in_order().await;
    }
}

/// Its own check is what makes it healthy, and what it says is known without a look.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_a_check_is_live_when_that_passes() {
    let (host, blog) = live().await;
    assert_eq!(host.deploy(&blog, "#! check passes\n#! answers nothing").await.state, DeploymentState::Live);
    host.in_order().await;
    let health = async || host.parts().services.states().await.unwrap()[&blog].health;
    until("it is healthy", async || health().await == Some(true)).await;
}

/// A unit that systemd starts again and again, heard over a bus that was away meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_flaps_is_shown_as_it_is() {
    let (mut host, blog) = live().await;
    let unit = "blog@1.service";
    let states = async |host: &TestHost| host.ask(|parts| async move { parts.services.states().await }).await;
    for round in 1..=2 {
        host.manager().set(unit, |unit| (unit.active, unit.sub) = ("activating", "auto-restart")).await;
        until("it restarts", async || states(&host).await.unwrap()[&blog].condition == Condition::Restarting).await;
        host.manager().set(unit, |unit| (unit.active, unit.sub, unit.restarts) = ("active", "running", round)).await;
        until("it runs again", async || {
            let status = states(&host).await.unwrap().remove(&blog).unwrap();
            (status.condition, status.restarts) == (Condition::Running, round)
        })
        .await;
        host.systemd.go();
        assert!(states(&host).await.is_err());
        host.systemd.come_back();
    }
}

/// The clock was set back since the last deployment: what is newest is so by its number.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_newest_is_so_by_its_number() {
    let (mut host, blog) = live().await;
    assert_eq!(host.deploy(&blog, "").await.state, DeploymentState::Live);
    host.in_order().await;
    host.kill().await;
    let year = 365 * 24 * 3600 * 1_000_000_i64;
    let store = rusqlite::Connection::open(host.config.paths.store()).unwrap();
    for step in ["queued", "fetching", "building", "starting", "checking", "finished"] {
        store.execute(&format!("UPDATE deployments SET {step} = {step} + ?1"), [year]).unwrap();
    }
    store.execute("UPDATE releases SET created = created + ?1", [year]).unwrap();
    drop(store);
    host.start_agent().await;
    let ended = host.deploy(&blog, "").await;
    assert_eq!((ended.state, ended.release.unwrap().0), (DeploymentState::Live, 3));
    assert_eq!(host.newest(&blog).await.id, ended.id);
    host.in_order().await;
    let back = roll_back(&host, &blog).await;
    assert_eq!((back.state, back.from_release.unwrap().0), (DeploymentState::Live, 2));
    host.in_order().await;
}

/// Somebody else holds the database, as a backup does.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_busy_is_waited_for() {
    let (host, blog) = live().await;
    let commit = host.commit(&blog, "");
    let other = rusqlite::Connection::open(host.config.paths.store()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let name = blog.clone();
    let moved = [("refs/heads/main".to_owned(), Some(commit))];
    let telling = host.begin(move |parts| async move { parts.deploys.pushed(&name, &moved, Actor::GitPassword).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!telling.is_finished(), "nothing is acknowledged that isn't written");
    other.execute_batch("COMMIT").unwrap();
    assert!(telling.await.unwrap().is_ok());
    assert_eq!(host.ended(&host.newest(&blog).await).await.state, DeploymentState::Live);
    host.in_order().await;
}

/// Asks the host's interface as somebody who may do everything.
async fn bearer(host: &TestHost) -> String {
    let grant = Grant { scope: Scope::Admin, service: None };
    let made = host.ask(|parts| async move { parts.auth.create_token("test".parse().unwrap(), grant, None).await });
    format!("Bearer {}", made.await.unwrap().expose_secret())
}

/// What keeps a deployment is told with it, and in its story.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_queued_says_what_it_waits_for() {
    let (host, blog) = live().await;
    let shop = host.create("shop").await;
    let bearer = bearer(&host).await;
    let waits_for = async |id: DeploymentId| {
        let headers = [("Authorization", bearer.as_str())];
        let answer = raw(host.address(), &request("GET", &format!("/deployments/{id}"), &headers, "")).await;
        answer.json()["waits_for"].clone()
    };
    let (first, _) = held(&host, &blog, DeploymentState::Building).await;
    assert_eq!(waits_for(first.id).await, json!(null));
    // One of the same service, and one of another, whose builds are all in use.
    let second = host.push(&blog, "").await;
    assert_eq!(waits_for(second.id).await, json!({ "type": "deployment", "deployment": first.id }));
    let other = host.push(&shop, "").await;
    let builds = json!({ "type": "builds", "parallel": host.config.builds.parallel });
    until("it waits for a build", async || waits_for(other.id).await == builds).await;
    cancel(&host, &first).await;
    for waiting in [second, other] {
        assert_eq!(host.ended(&waiting).await.state, DeploymentState::Live);
        assert_eq!(waits_for(waiting.id).await, json!(null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_would_restart_is_told_and_nothing_is_changed() {
    let (host, blog) = live().await;
    let bearer = bearer(&host).await;
    let ask = async |method: &str, path: &str, body: serde_json::Value| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let answer = raw(host.address(), &request(method, path, &headers, &body.to_string())).await;
        (answer.status, answer.json())
    };
    set_env(&host, &blog, "A", Some("one")).await;
    host.ended(&host.newest(&blog).await).await;
    host.in_order().await;
    let (newest, secrets) = (host.newest(&blog).await.id, host.secrets_of(&blog));
    for (update, changed, set, removed, restarts) in [
        (json!({ "env": { "A": "one" } }), false, vec![], vec![], false),
        (json!({ "env": { "A": "two", "B": "" } }), true, vec!["A", "B"], vec![], true),
        (json!({ "env": { "A": null, "C": null } }), true, vec![], vec!["A"], true),
        (json!({ "env": { "B": "x" }, "replace": true }), true, vec!["B"], vec!["A"], true),
        (json!({ "env": { "B": "x" }, "restart": false }), true, vec!["B"], vec![], false),
    ] {
        let (status, told) = ask("POST", "/services/blog/env/update?dry_run=1", update.clone()).await;
        let plan = json!({ "set": set, "removed": removed, "restarts": restarts });
        assert_eq!((status, &told["changed"], &told["plan"]), (200, &json!(changed), &plan), "{update}: {told}");
        assert!(!told.to_string().contains("two"), "{told}");
    }
    let (status, told) = ask("PATCH", "/services/blog?dry_run=on", json!({ "memory_mib": 64, "keep": null })).await;
    let changes = json!({ "memory_mib": { "before": null, "after": 64, "counts": "next-release" } });
    assert_eq!((status, told), (200, json!({ "changes": changes, "restarts": false })));
    // What would be refused is refused.
    assert_eq!(ask("PATCH", "/services/blog?dry_run=1", json!({ "memory_mib": 1 })).await.0, 422);
    assert_eq!(ask("PATCH", "/services/blog?dry_runs=1", json!({})).await.0, 400);
    assert_eq!(ask("POST", "/services/blog/env/update?dry_run=1", json!({ "env": { "PORT": "1" } })).await.0, 422);
    assert_eq!((host.newest(&blog).await.id, host.secrets_of(&blog)), (newest, secrets));
    assert_eq!(ask("GET", "/services/blog", json!({})).await.1["settings"]["memory_mib"], json!(null));
    // What is stopped is not started by it.
    stop(&host, &blog).await;
    let (_, told) = ask("POST", "/services/blog/env/update?dry_run=1", json!({ "env": { "A": "two" } })).await;
    assert_eq!(told["plan"]["restarts"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_never_was_has_no_log() {
    let (host, _) = live().await;
    let bearer = bearer(&host).await;
    for (release, status, code) in [(1, 200, ""), (2, 404, "release-gone")] {
        let headers = [("Authorization", bearer.as_str())];
        let path = format!("/services/blog/logs?release={release}");
        let answer = raw(host.address(), &request("GET", &path, &headers, "")).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_quick_by_any_value_that_is_set() {
    let (host, blog) = live().await;
    let bearer = bearer(&host).await;
    for (value, quick) in [("on", true), ("y", true), ("2", true), ("no", false), ("null", false), ("", false)] {
        let headers = [("Authorization", bearer.as_str())];
        let path = format!("/services/blog/restart?quick={value}");
        let answer = raw(host.address(), &request("POST", &path, &headers, "")).await;
        assert_eq!((answer.status, answer.json()["from_release"].is_null()), (202, !quick), "{value}: {answer:?}");
        host.ended(&host.newest(&blog).await).await;
    }
}

/// The way that people go, by the interface alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_made_pushed_to_stopped_and_removed_by_the_interface() {
    let host = TestHost::start().await;
    let bearer = bearer(&host).await;
    let ask = async |method: &str, path: &str, body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let answer = raw(host.address(), &request(method, path, &headers, body)).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer.json()
    };
    let made = ask("PUT", "/services/blog", r#"{"template":"empty"}"#).await;
    assert_eq!(made["state"], "never-deployed");
    let blog = "blog".parse().unwrap();
    let ended = host.deploy(&blog, "").await;
    assert_eq!(ask("GET", &format!("/deployments/{}", ended.id), "").await["state"], "live");
    let shown = ask("GET", "/services/blog", "").await;
    assert_eq!((&shown["state"], &shown["release"]), (&json!("running"), &json!(1)));
    ask("POST", "/services/blog/env/update", r#"{"env":{"KEY":"value"}}"#).await;
    host.ended(&host.newest(&blog).await).await;
    assert_eq!(host.secrets_of(&blog), ["value"]);
    ask("POST", "/services/blog/rollback", "").await;
    assert_eq!(host.ended(&host.newest(&blog).await).await.state, DeploymentState::Live);
    host.in_order().await;
    ask("POST", "/services/blog/stop", "").await;
    assert_eq!(ask("GET", "/services/blog", "").await["state"], "stopped");
    host.in_order().await;
    ask("POST", "/services/blog/start", "").await;
    assert_eq!(host.ended(&host.newest(&blog).await).await.state, DeploymentState::Live);
    ask("DELETE", "/services/blog", "").await;
    host.in_order().await;
    assert!(host.world().units.is_empty());
}
