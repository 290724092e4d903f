//! What people can ask for, in any order, with the agent killed now and then: what was acknowledged is never lost, one
//! release at most has the traffic, and nothing is left of what is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use podkeeper::names::{Actor, DeploymentId, ServiceName};
use podkeeper::services::ServiceError;
use podkeeper::store::{Cause, Desired, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use secrecy::{ExposeSecret, SecretString};

use super::hermetic::TestHost;

const NAMES: [&str; 2] = ["blog", "shop"];

/// Something that somebody asks for of one of the services.
#[derive(Debug, Clone)]
enum Wish {
    Create,
    Push(&'static str),
    Start,
    Stop,
    Restart,
    Rollback,
    Env(u8),
    Keep(u32),
    Cancel,
    Remove { volumes: bool },
}

/// And what happens beside.
#[derive(Debug, Clone)]
enum Step {
    Wish(usize, Wish),
    /// The agent is killed so many milliseconds later.
    Kill(u64),
    /// All that is under way ends.
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let does = prop_oneof![
        4 => Just(""),
        1 => Just("#! volume /data"),
        1 => Just("#! check passes"),
        1 => Just("#! build fails 1"),
        1 => Just("#! start failed 1"),
        1 => Just("#! build never"),
    ];
    let wish = prop_oneof![
        2 => Just(Wish::Create),
        6 => does.prop_map(Wish::Push),
        2 => Just(Wish::Start),
        2 => Just(Wish::Stop),
        1 => Just(Wish::Restart),
        2 => Just(Wish::Rollback),
        3 => any::<u8>().prop_map(Wish::Env),
        1 => (1..4_u32).prop_map(Wish::Keep),
        2 => Just(Wish::Cancel),
        1 => any::<bool>().prop_map(|volumes| Wish::Remove { volumes }),
    ];
    let step = prop_oneof![
        10 => (0..NAMES.len(), wish).prop_map(|(of, wish)| Step::Wish(of, wish)),
        2 => (0..60_u64).prop_map(Step::Kill),
        2 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 8..24)
}

/// What somebody was told of a service, and nobody has asked otherwise since.
#[derive(Debug, Default)]
struct Told {
    desired: Option<Desired>,
    /// The variable's value; none: a rollback may have brought another.
    env: Option<String>,
    keep: Option<u32>,
    deployments: Vec<DeploymentId>,
}

#[derive(Default)]
struct Model {
    services: BTreeMap<ServiceName, Told>,
}

impl Model {
    /// Has it asked for, and remembers what the answer was.
    async fn ask(&mut self, host: &TestHost, name: &ServiceName, wish: &Wish) {
        let actor = Actor::GitPassword;
        let service = name.clone();
        if let Wish::Create = wish {
            if host.try_create(name).await.is_ok() {
                self.services.insert(name.clone(), Told { desired: Some(Desired::Created), ..Told::default() });
            }
            return;
        }
        let Some(told) = self.services.get_mut(name) else { return };
        match wish {
            Wish::Create => {}
            Wish::Push(does) => {
                let queued = host.push(name, does).await;
                told.deployments.push(queued.id);
                told.desired = None;
            }
            Wish::Start => {
                let asked =
                    host.ask(|parts| async move { parts.deploys.build(&service, Cause::Start, actor, None).await });
                told.deployments.push(asked.await.unwrap().id);
                told.desired = None;
            }
            Wish::Restart | Wish::Rollback => {
                let goes_back = matches!(wish, Wish::Rollback);
                let asked = host.ask(move |parts| async move {
                    if goes_back {
                        parts.deploys.rollback(&service, None, actor).await
                    } else {
                        parts.deploys.restart_quickly(&service, actor).await
                    }
                });
                // There may be no release yet, or none before.
                if let Ok(queued) = asked.await {
                    told.deployments.push(queued.id);
                    told.desired = None;
                    told.env = None;
                }
            }
            Wish::Stop => {
                let asked = host.ask(move |parts| async move { parts.services.stop(&service, &actor).await });
                asked.await.unwrap();
                told.desired = Some(Desired::Stopped);
            }
            Wish::Env(value) => {
                let value = format!("value {value}");
                let changes = [("KEY".parse().unwrap(), Some(SecretString::from(value.as_str())))].into();
                let asked = host.ask(move |parts| async move {
                    parts.services.update_env(&service, changes, false, true, actor).await
                });
                asked.await.unwrap();
                told.env = Some(value);
            }
            Wish::Keep(keep) => {
                let keep = *keep;
                let asked = host.ask(move |parts| async move {
                    let change = move |settings| Ok(podkeeper::store::Settings { keep: Some(keep), ..settings });
                    parts.services.change_settings(&service, None, change).await
                });
                asked.await.unwrap();
                told.keep = Some(keep);
            }
            Wish::Cancel => {
                for id in told.deployments.iter().rev().copied().take(1) {
                    let asked = host.ask(move |parts| async move { parts.deploys.cancel(id).await });
                    match asked.await {
                        Ok(ended) => assert!(ended.state.is_final(), "{ended:?}"),
                        Err(ServiceError::Store(StoreError::Ended(_))) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Wish::Remove { volumes } => {
                let volumes = *volumes;
                let asked =
                    host.ask(move |parts| async move { parts.services.delete(&service, volumes, &actor).await });
                asked.await.unwrap();
                self.services.remove(name);
            }
        }
    }

    /// Ends what would go on for ever, and waits for the rest.
    async fn end(&self, host: &TestHost) {
        for name in self.services.keys() {
            for queued in host.parts().store.unfinished(name).await.unwrap() {
                let wait = Duration::from_millis(300);
                let id = queued.id;
                let ended = host.ask(move |parts| async move {
                    let row = parts.deploys.wait(id, wait).await?;
                    if row.state.is_final() { Ok(row) } else { parts.deploys.cancel(id).await }
                });
                match ended.await {
                    Ok(_) | Err(ServiceError::Store(StoreError::Ended(_))) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        host.in_order().await;
    }

    async fn check(&self, host: &TestHost) {
        let store = &host.parts().store;
        let known: Vec<ServiceName> = store.services().await.unwrap().into_iter().map(|service| service.name).collect();
        assert_eq!(known, self.services.keys().cloned().collect::<Vec<_>>());
        for (name, told) in &self.services {
            let service = host.service(name).await;
            if let Some(desired) = told.desired {
                assert_eq!(service.desired, desired, "{name}: {told:?}");
            }
            if told.keep.is_some() {
                assert_eq!(service.settings.keep, told.keep, "{name}");
            }
            for id in &told.deployments {
                assert!(store.deployment(*id).await.unwrap().state.is_final(), "{name}: {id}");
            }
            if let Some(value) = &told.env {
                let name = name.clone();
                let env = host.ask(move |parts| async move { parts.services.read_env(&name).await }).await.unwrap();
                let has: Vec<&str> = env.values().map(ExposeSecret::expose_secret).collect();
                assert_eq!(has, [value], "{told:?}");
            }
        }
    }
}

async fn run(steps: Vec<Step>) {
    let mut host = TestHost::start().await;
    let mut model = Model::default();
    let names: Vec<ServiceName> = NAMES.iter().map(|name| name.parse().unwrap()).collect();
    model.ask(&host, &names[0], &Wish::Create).await;
    for step in &steps {
        match step {
            Step::Wish(of, wish) => model.ask(&host, &names[*of], wish).await,
            Step::Kill(millis) => {
                tokio::time::sleep(Duration::from_millis(*millis)).await;
                host.kill().await;
                host.start_agent().await;
            }
            Step::Wait => {
                model.end(&host).await;
                model.check(&host).await;
            }
        }
    }
    model.end(&host).await;
    model.check(&host).await;
}

#[test]
fn in_whatever_order_things_are_asked_for() {
    let cases = std::env::var("PODKEEPER_TEST_ORDERS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(12);
    let config = Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(run(steps));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
