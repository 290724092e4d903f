//! What a repository says of how it is built and run, and which of its pushes concern its service.

use std::path::Path;

use podkeeper::names::{Actor, ServiceName};
use podkeeper::problem::Code;
use podkeeper::store::{Cause, Deployment, DeploymentState, Release};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::hermetic::TestHost;

const FILE: &str = "podkeeper.toml";
const BUILDS: (&str, &str) = ("Containerfile", "");

async fn host() -> (TestHost, ServiceName) {
    let host = TestHost::start().await;
    let blog = host.create("blog").await;
    (host, blog)
}

async fn release(host: &TestHost, name: &ServiceName) -> Release {
    let service = host.service(name).await;
    host.parts().store.release(service.id, service.current.unwrap()).await.unwrap()
}

fn is_live(ended: &Deployment) {
    assert_eq!(ended.state, DeploymentState::Live, "{ended:?}");
}

async fn again(host: &TestHost, name: &ServiceName) -> Deployment {
    let name = name.clone();
    let asked = host.ask(move |parts| async move { parts.deploys.restart_quickly(&name, Actor::GitPassword).await });
    host.ended(&asked.await.unwrap()).await
}

/// What the plan says of the build that is under way, and the folder of what it is given.
fn plan(host: &TestHost, deployment: &Deployment) -> (Value, std::path::PathBuf) {
    let contexts = host.config.paths.contexts();
    let text = std::fs::read(contexts.join(format!("{}.json", deployment.id))).unwrap();
    (serde_json::from_slice(&text).unwrap(), contexts.join(format!("{}.inputs", deployment.id)))
}

async fn set_env(host: &TestHost, name: &ServiceName, key: &str, value: &str) {
    let (name, env) = (name.clone(), [(key.parse().unwrap(), Some(SecretString::from(value)))].into());
    let set = host
        .ask(move |parts| async move { parts.services.update_env(&name, env, false, false, Actor::GitPassword).await });
    set.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_fills_what_its_service_leaves_open_and_goes_with_its_release() {
    let (host, blog) = host().await;
    host.set(&blog, |settings| settings.memory_mib = Some(64)).await;
    let said = "health_interval = 60\ncontainer_port = 3000\nmemory_mib = 128\ncpu_percent = 50\n\n[volumes]\ndata = \"/data\"\n";
    is_live(&host.deploy_files(&blog, &[("Containerfile", "#! check passes"), (FILE, said)]).await);
    let first = release(&host, &blog).await;
    assert_eq!(first.health_interval, Some(60));
    assert_eq!(
        (first.container_port, first.settings.memory_mib, first.settings.cpu_percent),
        (Some(3000), Some(64), Some(50))
    );
    assert_eq!(json!(first.volumes), json!({ "data": "/data" }));
    assert_eq!(host.service(&blog).await.settings.cpu_percent, None, "the service's own are as they were");
    // A release of the same image has what its commit said, with what is set by now.
    host.set(&blog, |settings| settings.prefer_repository = true).await;
    is_live(&again(&host, &blog).await);
    let second = release(&host, &blog).await;
    assert_eq!((second.number.0, second.settings.memory_mib, second.container_port), (2, Some(128), Some(3000)));
    // The next commit says nothing of the port.
    is_live(&host.deploy_files(&blog, &[(FILE, "# nothing\n")]).await);
    assert_eq!(release(&host, &blog).await.container_port, Some(8080));
    // Who goes back has what was released then.
    let name = blog.clone();
    let back = host.ask(move |parts| async move {
        parts.deploys.rollback(&name, Some("1".parse().unwrap()), Actor::GitPassword).await
    });
    is_live(&host.ended(&back.await.unwrap()).await);
    let back = release(&host, &blog).await;
    assert_eq!(
        (back.container_port, back.settings.memory_mib, back.repository),
        (Some(3000), Some(64), first.repository)
    );
    host.in_order().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_can_not_say_is_told_before_anything_is_built() {
    let (host, blog) = host().await;
    for (said, told) in [
        (
            "tcp = true\ncontainer_port = 70000\n",
            "`podkeeper.toml`, line 2: `container_port` must be from 1 to 65535, or the word",
        ),
        ("domains = [\"a.example\"]\n", "`podkeeper.toml`, line 1: `domains` is not for a repository to say"),
        ("port = 80\n", "`podkeeper.toml`, line 1: unknown key `port`; there are `"),
        ("port\n", "`podkeeper.toml`, line 1: this is no TOML."),
    ] {
        let ended = host.deploy_files(&blog, &[BUILDS, (FILE, said)]).await;
        let problem = ended.problem.clone().unwrap();
        assert_eq!((ended.state, problem.code), (DeploymentState::Failed, Code::InvalidSetting), "{said}");
        assert!(problem.detail.starts_with(told), "{said}: {problem:?}");
        let built = ended.steps.iter().any(|(state, _)| *state == DeploymentState::Building);
        assert!(!built && ended.tail.is_none(), "{ended:?}");
    }
    host.in_order().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_repository_is_built_by_a_file_of_it() {
    let (host, blog) = host().await;
    let files = [("apps/web/docker/Dockerfile", "#! volume /data\nFROM a\nEXPOSE 9090 80 443\n"), ("go.mod", "")];
    host.set(&blog, |settings| {
        settings.root = Some("apps/web".parse().unwrap());
        settings.containerfile = Some("docker/Dockerfile".parse().unwrap());
    })
    .await;
    is_live(&host.deploy_files(&blog, &files).await);
    let live = release(&host, &blog).await;
    assert_eq!((live.container_port, json!(live.volumes)), (Some(9090), json!({ "data": "/data" })));
    for (root, file, told) in [
        (
            "apps/wbe",
            "docker/Dockerfile",
            "The setting `root` names `apps/wbe`, and the repository has no such folder.",
        ),
        (
            "apps",
            "dockerfile",
            "The setting `containerfile` names `dockerfile`, and there is no such file; there is `web/docker/Dockerfile`.",
        ),
    ] {
        host.set(&blog, move |settings| {
            settings.root = Some(root.parse().unwrap());
            settings.containerfile = Some(file.parse().unwrap());
        })
        .await;
        let problem = host.deploy_files(&blog, &[]).await.problem.unwrap();
        assert_eq!((problem.code, &*problem.detail), (Code::NoRecipe, told));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_given_its_arguments_and_secrets_in_files_alone() {
    let (host, blog) = host().await;
    host.set(&blog, |settings| {
        *settings = serde_json::from_value(json!({
            "build_args": { "MODE": "production" }, "build_env": ["URL"], "build_secrets": ["TOKEN"],
        }))
        .unwrap();
    })
    .await;
    let file = "#! build never\nFROM a\nARG SOURCE_COMMIT\n";
    let ended = host.deploy(&blog, file).await;
    let problem = ended.problem.unwrap();
    assert_eq!((ended.state, problem.code), (DeploymentState::Failed, Code::BuildFailed));
    assert_eq!(&*problem.detail, "`build_env` names `URL`, and the service has no such variable.");
    set_env(&host, &blog, "URL", "https://x.example").await;
    set_env(&host, &blog, "TOKEN", "hunter2").await;
    let building = host.push(&blog, file).await;
    host.is_at(&building, DeploymentState::Building).await;
    let unit = format!("build-{}.service", building.id);
    super::hermetic::until("the build runs", async || {
        host.world().units.get(&unit).is_some_and(|unit| unit.sub == "running")
    })
    .await;
    let (plan, given) = plan(&host, &building);
    let read = |name: &str| std::fs::read_to_string(given.join(name)).unwrap();
    let commit = building.commit.clone().unwrap();
    assert_eq!(read("args"), format!("SOURCE_COMMIT={commit}\nMODE=production\nURL=https://x.example\n"));
    assert_eq!(read("secrets/TOKEN"), "hunter2");
    assert_eq!(plan["inputs"], json!({ "has_args": true, "secrets": ["TOKEN"] }));
    assert!(!["hunter2", "x.example"].iter().any(|value| plan.to_string().contains(value)), "{plan}");
    let id = building.id;
    host.ask(move |parts| async move { parts.deploys.cancel(id).await }).await.unwrap();
    host.ended(&building).await;
    host.in_order().await;
    assert!(!Path::new(&given).exists(), "nothing of it stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_touches_nothing_watched_is_kept() {
    let (host, blog) = host().await;
    host.set(&blog, |settings| settings.watch = serde_json::from_value(json!(["apps/web/**", "go.mod"])).unwrap())
        .await;
    // The first is built, whatever it is.
    is_live(&host.deploy_files(&blog, &[BUILDS]).await);
    let kept = host.deploy_files(&blog, &[("docs/a.md", "x")]).await;
    let problem = kept.problem.clone().unwrap();
    assert_eq!((kept.state, problem.code), (DeploymentState::Cancelled, Code::Unchanged), "{kept:?}");
    assert!(problem.detail.starts_with("Nothing of `apps/web/**`, `go.mod` has changed in commit "), "{problem:?}");
    assert!(problem.detail.ends_with(" since release 1 was built; that one goes on."), "{problem:?}");
    host.in_order().await;
    assert_eq!(host.routed(&blog).await, [1]);
    // Nor does maintenance take it for a push that was missed.
    assert_eq!(host.newest(&blog).await.id, kept.id);
    // What was pushed with it since then counts, and so does the file that may say what is watched.
    for (path, number) in [("apps/web/main.go", 3), ("go.mod", 4), (FILE, 5)] {
        let ended = host.deploy_files(&blog, &[(path, "# y\n")]).await;
        is_live(&ended);
        assert_eq!(ended.release.unwrap().0, number, "{path}");
    }
    // Whoever asks for it has it built.
    host.commit_files(&blog, &[("docs/b.md", "x")]);
    let name = blog.clone();
    let asked =
        host.ask(move |parts| async move { parts.deploys.build(&name, Cause::Start, Actor::GitPassword, None).await });
    is_live(&host.ended(&asked.await.unwrap()).await);
    // What it would bring beside its commit counts, too.
    set_env(&host, &blog, "KEY", "x").await;
    is_live(&host.deploy_files(&blog, &[("docs/c.md", "x")]).await);
    assert_eq!(host.deploy_files(&blog, &[("docs/d.md", "x")]).await.state, DeploymentState::Cancelled);
}
