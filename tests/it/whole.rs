//! What was asked for is done whole or not at all, whatever the client, the clock or the disk do.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use podkeeper::deploys::Pushed;
use podkeeper::names::{Actor, CommitId, ReleaseNumber, Scope};
use podkeeper::problem::{Code, Problem};
use podkeeper::services::EnvUpdate;
use podkeeper::services::env::Changes;
use podkeeper::store::{Cause, Deployment, DeploymentState, Desired, NewDeployment, Service};
use secrecy::{ExposeSecret, SecretString};

use super::support::{PATIENCE, TestAgent, request};

/// A deployment that waits.
async fn asked_for(agent: &TestAgent) -> Deployment {
    let new = NewDeployment {
        service: agent.service("blog").await,
        cause: Cause::Start,
        actor: Actor::Agent,
        commit: None,
        from_release: None,
        env: None,
    };
    agent.store.request_deployment(new).await.unwrap().0
}

/// Whatever is asked for is carried out, until the test ends.
fn look_after(agent: &TestAgent) {
    let deploys = agent.deploys.clone();
    tokio::spawn(async move { deploys.run().await });
}

#[tokio::test]
async fn a_stop_is_done_though_the_agent_died_before_it_cancelled_anything() {
    let agent = TestAgent::start().await;
    let deployment = asked_for(&agent).await;
    agent.store.step(deployment.id, DeploymentState::Building, None).await.unwrap();
    agent.store.end_service(&deployment.service, Desired::Stopped).await.unwrap();
    look_after(&agent);
    let ended = agent.deploys.wait(deployment.id, PATIENCE).await.unwrap();
    assert_eq!(ended.state, DeploymentState::Cancelled);
}

/// A service of this template with a repository, whose branch somebody has pushed to.
async fn pushed_to(agent: &TestAgent, template: &str) -> (Service, CommitId) {
    let name = agent.service("blog").await;
    agent.database().execute("UPDATE services SET template = ?1", [template]).unwrap();
    let service = agent.store.service(&name).await.unwrap();
    agent.services.complete_repository(&service).await.unwrap();
    let folder = agent.config.get().paths.repositories().join("blog.git");
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b", "-C"]).arg(&folder).args(arguments);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let tree = git(&["hash-object", "-w", "-t", "tree", "--stdin"]);
    let commit = git(&["commit-tree", "-m", "pushed", &tree]);
    git(&["update-ref", "refs/heads/main", &commit]);
    (service, commit.parse().unwrap())
}

#[tokio::test]
async fn a_push_is_queued_once_and_no_older_one_behind_it() {
    let agent = TestAgent::start().await;
    let (service, commit) = pushed_to(&agent, "static").await;
    let starter = agent.store.seen_commit(service.id).await.unwrap().unwrap();
    // Maintenance comes before git's hook.
    look_after(&agent);
    let deployments = async || agent.store.deployments(&service.name, None, 10).await.unwrap().deployments;
    while deployments().await.is_empty() {
        tokio::task::yield_now().await;
    }
    let tell = async |commit: &CommitId| {
        let moved = [("refs/heads/main".to_owned(), Some(commit.clone()))];
        agent.deploys.pushed(&service.name, &moved, Actor::Agent).await.unwrap()
    };
    let Pushed::Deployed(told) = tell(&commit).await else { panic!("it is deployed") };
    assert_eq!(told.id, deployments().await[0].id);
    assert!(matches!(tell(&starter).await, Pushed::Passed));
    assert_eq!(deployments().await.len(), 1);
    assert_eq!(agent.store.seen_commit(service.id).await.unwrap(), Some(commit));
}

#[tokio::test]
async fn the_first_push_to_an_empty_repository_is_nobodys_starter() {
    let agent = TestAgent::start().await;
    let (service, commit) = pushed_to(&agent, "empty").await;
    look_after(&agent);
    while agent.store.seen_commit(service.id).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let deployments = agent.store.deployments(&service.name, None, 10).await.unwrap().deployments;
    assert_eq!(deployments.into_iter().map(|row| row.commit).collect::<Vec<_>>(), [Some(commit)]);
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

#[tokio::test]
async fn variables_are_merged_into_those_that_a_release_brought_meanwhile() {
    let agent = TestAgent::start().await;
    let name = agent.service("blog").await;
    // They can be read as they were, and be written when others are there.
    let database = agent.database();
    database.execute_batch("BEGIN IMMEDIATE; INSERT INTO env SELECT id, 'BROUGHT', '' FROM services").unwrap();
    let changes = Changes::from([("SET".parse().unwrap(), Some(SecretString::default()))]);
    let setting = agent.services.update_env(&name, changes, false, true, Actor::Agent);
    let writing = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        database.execute_batch("COMMIT").unwrap();
    };
    let (set, ()) = tokio::join!(setting, writing);
    assert!(matches!(set.unwrap(), EnvUpdate::Kept));
    let keys: Vec<_> = agent.store.env(&name).await.unwrap().into_keys().map(|key| key.to_string()).collect();
    assert_eq!(keys, ["BROUGHT", "SET"]);
}

#[tokio::test]
async fn a_removal_that_failed_goes_on_when_it_is_asked_for_again() {
    let agent = TestAgent::start().await;
    let name = agent.service("blog").await;
    // There is neither systemd nor Podman.
    for volumes in [false, true, false] {
        let failed = agent.services.delete(&name, volumes, &Actor::Agent).await.unwrap_err().problem().code;
        assert_eq!(failed, Code::SystemdUnavailable);
        assert_eq!(agent.store.find_service(&name).await.unwrap().desired, Desired::Deleted { volumes });
    }
    let stopped = agent.services.stop(&name, &Actor::Agent).await.unwrap_err().problem().code;
    assert_eq!(stopped, Code::NotFound, "for all else it is gone");
}

/// What is logged on this thread.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn how_often(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(text).count()
    }
}

#[tokio::test]
async fn a_slot_waits_for_a_store_that_takes_nothing_says_so_once_and_goes_on() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer({
        let lines = lines.clone();
        move || lines.clone()
    });
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let agent = without_a_journal().await;
    let deployment = asked_for(&agent).await;
    refuse(&agent, "ON deployments");
    look_after(&agent);
    let waits = "its deployments wait for the store";
    while lines.how_often(waits) == 0 {
        tokio::task::yield_now().await;
    }
    // A loop without a pause would go round a few times meanwhile.
    let state = async || agent.store.deployment(deployment.id).await.unwrap().state;
    for _ in 0..100 {
        assert_eq!(state().await, DeploymentState::Queued);
    }
    take_again(&agent);
    while state().await == DeploymentState::Queued {
        tokio::task::yield_now().await;
    }
    assert_eq!((lines.how_often(waits), lines.how_often("can't write the deployment's end")), (1, 0));
}

/// Nothing is in its journal, and nothing will be.
async fn without_a_journal() -> TestAgent {
    TestAgent::start_with(|config| config.limits.journal = Duration::from_millis(10)).await
}

fn refuse(agent: &TestAgent, update: &str) {
    let refuses = "BEGIN SELECT RAISE(ABORT, 'not now'); END";
    agent.database().execute_batch(&format!("CREATE TRIGGER refuses BEFORE UPDATE {update} {refuses}")).unwrap();
}

fn take_again(agent: &TestAgent) {
    agent.database().execute_batch("DROP TRIGGER refuses").unwrap();
}

#[tokio::test]
async fn what_is_cancelled_while_the_store_takes_nothing_is_cancelled() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer({
        let lines = lines.clone();
        move || lines.clone()
    });
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let agent = without_a_journal().await;
    let deployment = asked_for(&agent).await;
    agent.store.step(deployment.id, DeploymentState::Fetching, None).await.unwrap();
    refuse(&agent, "ON deployments");
    let deploys = agent.deploys.clone();
    let cancelling = tokio::spawn(async move { deploys.cancel(deployment.id).await });
    look_after(&agent);
    while lines.how_often("its deployments wait for the store") == 0 {
        assert!(!cancelling.is_finished(), "it is not ended beside its slot");
        tokio::task::yield_now().await;
    }
    take_again(&agent);
    assert_eq!(cancelling.await.unwrap().unwrap().state, DeploymentState::Cancelled);
}

#[tokio::test]
async fn why_a_deployment_failed_is_known_before_anything_of_it_goes() {
    let agent = without_a_journal().await;
    let new = NewDeployment {
        service: agent.service("blog").await,
        cause: Cause::Rollback,
        actor: Actor::Agent,
        commit: None,
        from_release: Some(ReleaseNumber(7)),
        env: None,
    };
    let (deployment, _) = agent.store.request_deployment(new).await.unwrap();
    refuse(&agent, "OF finished ON deployments");
    look_after(&agent);
    let row = async || agent.store.deployment(deployment.id).await.unwrap();
    while row().await.problem.is_none() {
        tokio::task::yield_now().await;
    }
    let noted = row().await;
    assert_eq!((noted.state.is_final(), noted.problem.unwrap().code), (false, Code::ReleaseGone));
    take_again(&agent);
    let ended = agent.deploys.wait(deployment.id, PATIENCE).await.unwrap();
    assert_eq!((ended.state, ended.problem.unwrap().code), (DeploymentState::Failed, Code::ReleaseGone));
}

#[tokio::test]
async fn who_ends_what_an_agent_that_died_had_given_up_finds_no_other_reason() {
    let agent = without_a_journal().await;
    let deployment = asked_for(&agent).await;
    agent.store.number_release(deployment.id).await.unwrap();
    agent.store.step(deployment.id, DeploymentState::Checking, None).await.unwrap();
    for code in [Code::Unhealthy, Code::BuildFailed] {
        agent.store.note_problem(deployment.id, Problem::new(code, "so"), None).await.unwrap();
    }
    // Its image and its release are gone.
    look_after(&agent);
    let ended = agent.deploys.wait(deployment.id, PATIENCE).await.unwrap();
    assert_eq!(
        (ended.state, ended.problem.unwrap().code),
        (DeploymentState::Failed, Code::Unhealthy),
        "it is the first"
    );
}
