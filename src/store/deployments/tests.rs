use super::super::Desired;
use super::super::fixture::{new_service, release, start, store};
use super::*;

fn push(commit: char) -> NewDeployment {
    NewDeployment { cause: Cause::Push, commit: Some(id_of(commit)), ..start("a") }
}

fn id_of(commit: char) -> CommitId {
    commit.to_string().repeat(40).parse().unwrap()
}

#[tokio::test]
async fn a_newer_deployment_supersedes_the_one_that_waits_and_not_the_one_under_way() {
    let (_folder, store) = store();
    let service = store.create_service(new_service("a")).await.unwrap();
    let (first, _) = store.request_deployment(start("a")).await.unwrap();
    store.step(first.id, DeploymentState::Fetching, None).await.unwrap();
    let (second, superseded) = store.request_deployment(start("a")).await.unwrap();
    assert!(superseded.is_empty());
    let (third, superseded) = store.request_deployment(start("a")).await.unwrap();
    assert_eq!(superseded, [second.id]);
    assert_eq!(store.deployment(second.id).await.unwrap().state, DeploymentState::Superseded);
    let unfinished: Vec<_> = store.unfinished(&service.name).await.unwrap().iter().map(|d| d.id).collect();
    assert_eq!(unfinished, [first.id, third.id]);
    assert!(matches!(store.step(second.id, DeploymentState::Fetching, None).await, Err(StoreError::Ended(_))));
    let page = store.deployments(&service.name, None, 2).await.unwrap();
    assert_eq!((page.deployments[0].id, page.next), (third.id, Some(second.id)));
}

#[tokio::test]
async fn no_deployment_forgets_a_push_that_came_while_it_was_under_way() {
    let (_folder, store) = store();
    let service = store.create_service(new_service("a")).await.unwrap();
    let seen = async || store.seen_commit(service.id).await.unwrap();
    // The one was pushed itself, the other takes what it finds.
    for (under_way, newer) in [(push('1'), '2'), (start("a"), '4')] {
        let commit = under_way.commit.clone().unwrap_or_else(|| id_of('3'));
        let (under_way, _) = store.request_deployment(under_way).await.unwrap();
        store.step(under_way.id, DeploymentState::Fetching, None).await.unwrap();
        store.request_deployment(push(newer)).await.unwrap();
        let building = store.step(under_way.id, DeploymentState::Building, Some(commit.clone())).await.unwrap();
        assert_eq!((building.commit, seen().await), (Some(commit), Some(id_of(newer))));
    }
    let (last, _) = store.request_deployment(start("a")).await.unwrap();
    store.step(last.id, DeploymentState::Building, Some(id_of('5'))).await.unwrap();
    assert_eq!(seen().await, Some(id_of('5')), "nobody pushes what it has found");
}

#[tokio::test]
async fn what_has_left_the_queue_is_not_ended_as_if_it_waited() {
    let (_folder, store) = store();
    store.create_service(new_service("a")).await.unwrap();
    let (waiting, _) = store.request_deployment(start("a")).await.unwrap();
    // Somebody has read that it waits, and it goes on meanwhile.
    store.step(waiting.id, DeploymentState::Fetching, None).await.unwrap();
    assert_eq!(store.cancel_waiting(waiting.id).await.unwrap(), None);
    assert_eq!(store.deployment(waiting.id).await.unwrap().state, DeploymentState::Fetching);
    let (behind, _) = store.request_deployment(start("a")).await.unwrap();
    let ended = store.cancel_waiting(behind.id).await.unwrap().unwrap();
    assert_eq!((ended.id, ended.state), (behind.id, DeploymentState::Cancelled));
    assert_eq!(store.cancel_waiting(behind.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_step_that_comes_behind_a_stop_leaves_it_cancelled() {
    let (_folder, store) = store();
    let service = store.create_service(new_service("a")).await.unwrap();
    let (begun, _) = store.request_deployment(push('1')).await.unwrap();
    store.step(begun.id, DeploymentState::Fetching, None).await.unwrap();
    store.end_service(&service.name, Desired::Stopped).await.unwrap();
    // Its task has not heard of that yet, and the agent may die before it does.
    let goes_on = store.step(begun.id, DeploymentState::Building, None).await.unwrap();
    assert_eq!(goes_on.problem.map(|problem| problem.code), Some(Code::Cancelled));
    let number = store.number_release(begun.id).await.unwrap();
    assert!(store.make_current(service.id, number, begun.id).await.is_err());
    assert_eq!(store.service(&service.name).await.unwrap().desired, Desired::Stopped);
}

#[tokio::test]
async fn only_who_wants_it_to_run_starts_what_is_stopped() {
    let (_folder, store) = store();
    let service = store.create_service(new_service("a")).await.unwrap();
    store.end_service(&service.name, Desired::Stopped).await.unwrap();
    let by = |actor: &str, cause| NewDeployment { actor: actor.parse().unwrap(), cause, ..push('1') };
    let refused = async |when: &str| {
        for missed in [by("agent", Cause::Push), by("token:a", Cause::Hook), by("token:a", Cause::Env)] {
            let refused = store.request_deployment(missed).await;
            assert!(matches!(refused, Err(StoreError::Stopped(name)) if name == "a"), "{when}");
        }
    };
    refused("it never ran").await;
    // Neither does what a stop has cancelled make it one that will run, nor what had given its release the traffic by then.
    let (building, _) = store.request_deployment(by("token:a", Cause::Push)).await.unwrap();
    store.step(building.id, DeploymentState::Building, None).await.unwrap();
    store.end_service(&service.name, Desired::Stopped).await.unwrap();
    refused("its build is being ended").await;
    store.finish(building.id, DeploymentState::Cancelled, None, None).await.unwrap();
    let switched = release(&store, &service, by("token:a", Cause::Push)).await;
    store.step(switched.id, DeploymentState::Checking, None).await.unwrap();
    store.end_service(&service.name, Desired::Stopped).await.unwrap();
    refused("what switched to its release goes on").await;
    store.finish(switched.id, DeploymentState::Live, None, None).await.unwrap();
    store.request_deployment(by("token:a", Cause::Push)).await.unwrap();
    // It will run, and what comes meanwhile is taken.
    store.request_deployment(by("token:a", Cause::Hook)).await.unwrap();
}

#[tokio::test]
async fn what_makes_the_current_release_anew_builds_what_waits_to_be_built() {
    let (_folder, store) = store();
    store.create_service(new_service("a")).await.unwrap();
    let anew = |cause| NewDeployment { cause, from_release: Some(ReleaseNumber(1)), ..start("a") };
    let made_of = |row: &Deployment| (row.commit.clone(), row.from_release.map(|release| release.0));
    for (waits, commit) in [(push('1'), Some(id_of('1'))), (start("a"), None)] {
        let (waiting, _) = store.request_deployment(waits).await.unwrap();
        let (env, superseded) = store.request_deployment(anew(Cause::Env)).await.unwrap();
        assert_eq!((made_of(&env), superseded), ((commit.clone(), None), vec![waiting.id]));
        let (again, _) = store.request_deployment(anew(Cause::Restart)).await.unwrap();
        assert_eq!(made_of(&again), (commit, None), "from one to the next");
        // What is under way goes on, and is not built again.
        store.step(again.id, DeploymentState::Fetching, None).await.unwrap();
        let (behind, _) = store.request_deployment(anew(Cause::Env)).await.unwrap();
        assert_eq!(made_of(&behind), (None, Some(1)));
    }
    store.request_deployment(push('2')).await.unwrap();
    let (back, _) = store.request_deployment(anew(Cause::Rollback)).await.unwrap();
    assert_eq!(made_of(&back), (None, Some(1)), "who goes back wants nothing newer");
    // What comes behind that is made of the release that it makes.
    for cause in [Cause::Env, Cause::Restart] {
        let (behind, _) = store.request_deployment(anew(cause)).await.unwrap();
        assert_eq!(made_of(&behind), (None, Some(1)));
        let waiting: Vec<_> =
            store.unfinished(&behind.service).await.unwrap().iter().map(|row| row.id).rev().take(2).collect();
        assert_eq!(waiting, [behind.id, back.id], "and there is one of it");
    }
    let (newer, superseded) = store.request_deployment(push('3')).await.unwrap();
    assert!(superseded.contains(&back.id) && superseded.len() == 2);
    assert_eq!(store.unfinished(&newer.service).await.unwrap().last().map(|row| row.id), Some(newer.id));
}

#[tokio::test]
async fn a_failed_deployment_keeps_its_problem_and_its_number_is_given_once() {
    let (_folder, store) = store();
    store.create_service(new_service("a")).await.unwrap();
    let (deployment, _) = store.request_deployment(start("a")).await.unwrap();
    assert_eq!(store.number_release(deployment.id).await.unwrap(), ReleaseNumber(1));
    assert_eq!(store.number_release(deployment.id).await.unwrap(), ReleaseNumber(1));
    let problem = Problem::new(Code::BuildFailed, "it failed").with_hint("read the log");
    let ended =
        store.finish(deployment.id, DeploymentState::Failed, Some(problem.clone()), Some("last line".into())).await;
    let ended = ended.unwrap();
    assert_eq!((ended.problem, ended.tail.as_deref()), (Some(problem), Some("last line")));
    assert_eq!(ended.steps.last().map(|(state, _)| *state), Some(DeploymentState::Failed));
}

#[tokio::test]
async fn what_makes_the_current_release_anew_takes_the_one_of_its_turn() {
    let (_folder, store) = store();
    let service = store.create_service(new_service("a")).await.unwrap();
    let made = async |cause: Cause, from: u32| {
        let new = NewDeployment { cause, from_release: Some(ReleaseNumber(from)), ..start("a") };
        store.request_deployment(new).await.unwrap().0.id
    };
    let from = async |id| {
        store.number_release(id).await.unwrap();
        store.deployment(id).await.unwrap().from_release.map(|number| number.0)
    };
    let first = release(&store, &service, start("a")).await;
    store.finish(first.id, DeploymentState::Live, None, None).await.unwrap();
    let pushed = store.request_deployment(start("a")).await.unwrap().0;
    store.step(pushed.id, DeploymentState::Fetching, None).await.unwrap();
    let renewed = made(Cause::Env, 1).await;
    // What was pushed goes live before its turn comes.
    release(&store, &service, start("a")).await;
    assert_eq!(store.service(&service.name).await.unwrap().current, Some(ReleaseNumber(2)));
    assert_eq!(from(renewed).await, Some(2));
    assert_eq!(from(renewed).await, Some(2), "whatever is current by then");
    assert_eq!(from(made(Cause::Rollback, 1).await).await, Some(1));
}

#[tokio::test]
async fn a_service_is_to_run_from_the_moment_on_that_a_release_has_its_traffic() {
    let (_folder, store) = store();
    let service = store.create_service(new_service("a")).await.unwrap();
    let desired = async || store.service(&service.name).await.unwrap().desired;
    // What comes to nothing changes nothing.
    let (failed, _) = store.request_deployment(start("a")).await.unwrap();
    store.finish(failed.id, DeploymentState::Failed, None, None).await.unwrap();
    assert_eq!(desired().await, Desired::Created);
    let live = release(&store, &service, start("a")).await;
    store.step(live.id, DeploymentState::Checking, None).await.unwrap();
    assert_eq!(desired().await, Desired::Running);
    // One that has the traffic already ends as it would have.
    let ended = store.end_service(&service.name, Desired::Stopped).await.unwrap();
    assert_eq!((ended.waiting, ended.begun), (vec![], vec![]));
    store.finish(live.id, DeploymentState::Live, None, None).await.unwrap();
    // Whoever stops it means all that is under way, and nothing that is asked for later.
    let (begun, _) = store.request_deployment(start("a")).await.unwrap();
    store.step(begun.id, DeploymentState::Fetching, None).await.unwrap();
    let (waiting, _) = store.request_deployment(start("a")).await.unwrap();
    let ended = store.end_service(&service.name, Desired::Stopped).await.unwrap();
    assert_eq!((ended.waiting, ended.begun), (vec![waiting.id], vec![begun.id]));
    let (later, _) = store.request_deployment(start("a")).await.unwrap();
    assert_eq!(store.deployment(later.id).await.unwrap().problem, None);
    let refused = store.make_current(service.id, ReleaseNumber(1), begun.id).await.unwrap_err();
    assert!(matches!(refused, StoreError::Ended(_)), "{refused}");
    assert_eq!(desired().await, Desired::Stopped);
}
