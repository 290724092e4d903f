//! What whoever pushes reads and how git ends: real git and its hooks, as they are on a host, against a whole agent.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use podkeeper::events::Event;
use podkeeper::names::{BranchName, Scope, ServiceName};
use podkeeper::services::NewSource;
use podkeeper::services::status::Condition;
use podkeeper::store::{DeploymentState, Desired, Grant};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::hermetic::{TestHost, until};
use super::support::{raw, request};

/// A host whose git runs this program as its hook, an empty service on it, and somebody's clone.
struct Pusher {
    host: TestHost,
    blog: ServiceName,
    token: String,
    clone: tempfile::TempDir,
}

impl Pusher {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    /// With a service for which somebody has named the branch.
    async fn start_with(branch: Option<&str>) -> Self {
        let helpers = tempfile::tempdir().unwrap();
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/helpers/git-hooks");
        std::fs::create_dir(helpers.path().join("git-hooks")).unwrap();
        for name in ["pre-receive", "post-receive"] {
            let script = std::fs::read_to_string(format!("{own}/{name}")).unwrap();
            let file = helpers.path().join("git-hooks").join(name);
            std::fs::write(&file, script.replace("/usr/bin/podkeeper", env!("CARGO_BIN_EXE_podkeeper"))).unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let host = TestHost::start_with(|config| {
            let socket = config.paths.state.parent().unwrap().join("agent.sock");
            config.listen.local = socket.try_into().unwrap();
            config.paths.helpers = helpers.keep().try_into().unwrap();
        })
        .await;
        let (blog, template): (ServiceName, _) = ("blog".parse().unwrap(), "empty".parse().unwrap());
        let (name, branch) = (blog.clone(), branch.map(|branch| branch.parse().unwrap()));
        let source = NewSource::Template(template);
        host.ask(|parts| async move { parts.services.create(&name, source, branch).await }).await.unwrap();
        let grant = Grant { scope: Scope::Admin, service: None };
        let token = host.parts().auth.create_token("pusher".parse().unwrap(), grant, None).await.unwrap();
        let token = token.expose_secret().to_owned();
        let pusher = Self { host, blog, token, clone: tempfile::tempdir().unwrap() };
        pusher.git(&["init", "--quiet", "--initial-branch=main"]).await.unwrap();
        pusher
    }

    /// Git's words, and whether it ended well.
    async fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let mut git = Command::new("git");
        git.current_dir(self.clone.path()).env_clear().env("PATH", "/usr/bin:/bin").env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("HOME", self.clone.path()).env("GIT_TERMINAL_PROMPT", "0");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "A").env(format!("GIT_{who}_EMAIL"), "a@example.org");
        }
        git.args(arguments);
        let output = tokio::task::spawn_blocking(move || git.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    fn remote(&self) -> String {
        format!("http://any:{}@{}/git/blog.git", self.token, self.host.address())
    }

    /// A commit whose program does this; its id.
    async fn commit(&self, does: &str, message: &str) -> String {
        std::fs::write(self.clone.path().join("Containerfile"), format!("{does}\n")).unwrap();
        self.git(&["add", "--all"]).await.unwrap();
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]).await.unwrap();
        self.git(&["rev-parse", "HEAD"]).await.unwrap().trim().to_owned()
    }

    async fn push(&self, what: &[&str]) -> Result<String, String> {
        self.git(&[&["push", "--force", &self.remote()], what].concat()).await
    }

    async fn branch(&self) -> BranchName {
        self.host.service(&self.blog).await.branch
    }

    async fn states(&self) -> Vec<DeploymentState> {
        let page = self.host.parts().store.deployments(&self.blog, None, 50).await.unwrap();
        page.deployments.iter().map(|deployment| deployment.state).collect()
    }

    /// What maintenance would do by itself is done.
    async fn maintained(&self) {
        let mut heard = self.host.parts().events.subscribe();
        self.host.parts().services.cleanup_flag().set();
        // One look may be under way by now.
        for _ in 0..2 {
            while heard.recv().await != Ok(Event::Any) {}
        }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let answer = raw(self.host.address(), &request(method, path, &headers, &body.to_string())).await;
        (answer.status, answer.json())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_branch_is_looked_at_however_many_others_are_pushed() {
    let pusher = Pusher::start().await;
    pusher.commit("", "one").await;
    // One of them stands behind, by name.
    let made: String = (0..1000).map(|number| format!("create refs/heads/a{number} HEAD\n")).collect();
    let file = pusher.clone.path().join("made");
    std::fs::write(&file, made).unwrap();
    let mut git = Command::new("git");
    git.current_dir(pusher.clone.path()).args(["update-ref", "--stdin"]).stdin(std::fs::File::open(&file).unwrap());
    assert!(git.status().unwrap().success());
    std::fs::remove_file(file).unwrap();
    let said = pusher.push(&["--all"]).await.unwrap();
    assert!(said.contains("Kept 1000 other branches and tags.") && said.contains("Live: http"), "{said}");
    assert_eq!(pusher.states().await, [DeploymentState::Live]);
    assert_eq!(pusher.branch().await.as_str(), "main");
    // Also where its name is none of the usual ones.
    pusher.ask("PATCH", "/services/blog", json!({ "branch": "zz" })).await;
    for number in 0..200 {
        pusher.git(&["update-ref", &format!("refs/heads/b{number}"), "HEAD"]).await.unwrap();
    }
    pusher.git(&["branch", "--quiet", "zz"]).await.unwrap();
    let said = pusher.push(&["--all"]).await.unwrap();
    assert!(said.contains("Kept 200 other branches and tags.") && said.contains("Live: http"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_branch_pushed_to_an_empty_service_is_its_own() {
    for (pushed, own) in [
        (&["HEAD:refs/heads/master"][..], "master"),
        (&["HEAD:refs/heads/dev", "HEAD:refs/heads/main"], "main"),
        (&["HEAD:refs/heads/zz", "HEAD:refs/heads/dev", "HEAD:refs/heads/master"], "master"),
        (&["HEAD:refs/heads/zz", "HEAD:refs/heads/dev"], "dev"),
    ] {
        let pusher = Pusher::start().await;
        pusher.commit("", "one").await;
        let tag = pusher.push(&["HEAD:refs/tags/v1"]).await.unwrap();
        assert!(tag.contains("Kept. Only a push to `main` is deployed.") && tag.contains("Next: `git push"), "{tag}");
        let said = pusher.push(pushed).await.unwrap();
        let tells = format!("`{own}` is the branch of `blog` from this push on.");
        assert_eq!(said.contains(&tells), own != "main", "{said}");
        assert!(said.contains("Live: http"), "{said}");
        assert_eq!(pusher.branch().await.as_str(), own);
        let head = std::fs::read_to_string(pusher.host.repository(&pusher.blog).join("HEAD")).unwrap();
        assert_eq!(head, format!("ref: refs/heads/{own}\n"));
        // Only the first is.
        let other = pusher.push(&["HEAD:refs/heads/other"]).await.unwrap();
        assert!(other.contains(&format!("Only a push to `{own}` is deployed.")), "{other}");
    }
    // Nobody takes a branch away that somebody has named.
    let pusher = Pusher::start_with(Some("main")).await;
    pusher.commit("", "one").await;
    let said = pusher.push(&["HEAD:refs/heads/dev"]).await.unwrap();
    assert!(said.contains("Only a push to `main` is deployed."), "{said}");
    assert_eq!((pusher.branch().await.as_str(), pusher.states().await.len()), ("main", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_branch_that_nobody_told_of_is_found() {
    let pusher = Pusher::start().await;
    let commit = pusher.host.commit(&pusher.blog, "");
    let refs = pusher.host.repository(&pusher.blog).join("refs/heads");
    std::fs::rename(refs.join("main"), refs.join("trunk")).unwrap();
    until("it is deployed", async || pusher.states().await == [DeploymentState::Live]).await;
    assert_eq!(pusher.host.newest(&pusher.blog).await.commit, Some(commit));
    assert_eq!(pusher.branch().await.as_str(), "trunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_and_what_protects_it_follow_the_branch() {
    let pusher = Pusher::start().await;
    pusher.commit("", "one").await;
    pusher.push(&["HEAD:refs/heads/main", "HEAD:refs/heads/prod"]).await.unwrap();
    let refused = pusher.push(&[":refs/heads/main"]).await.unwrap_err();
    assert!(refused.contains("[remote rejected]"), "{refused}");
    let (status, answer) = pusher.ask("PATCH", "/services/blog", json!({ "branch": "prod" })).await;
    assert_eq!((status, &answer["branch"]), (200, &json!("prod")));
    let next = answer["next"].as_str().unwrap();
    assert!(next.contains("podkeeper deploy blog") && next.contains("POST /services/blog/start"), "{next}");
    let refused = pusher.push(&[":refs/heads/prod"]).await.unwrap_err();
    assert!(refused.contains("[remote rejected]"), "{refused}");
    pusher.push(&[":refs/heads/main"]).await.unwrap();
    let into = pusher.clone.path().join("clone");
    let cloned = pusher.git(&["clone", &pusher.remote(), into.to_str().unwrap()]).await.unwrap();
    assert!(!cloned.contains("warning") && into.join("Containerfile").exists(), "{cloned}");
    // What a crash left behind is mended.
    std::fs::write(pusher.host.repository(&pusher.blog).join("HEAD"), "ref: refs/heads/main\n").unwrap();
    let head = pusher.host.repository(&pusher.blog).join("HEAD");
    until("it is mended", async || std::fs::read_to_string(&head).unwrap() == "ref: refs/heads/prod\n").await;
    // Nothing is to be said where nothing waits.
    let (_, answer) = pusher.ask("PATCH", "/services/blog", json!({ "keep": 3 })).await;
    assert_eq!(answer["next"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_waits_ends_as_its_deployment_does() {
    let pusher = Pusher::start().await;
    pusher.commit("#! build fails 7", "one").await;
    // Whoever doesn't ask for it has pushed well.
    let said = pusher.push(&["HEAD:main"]).await.unwrap();
    assert!(said.contains("Failed (build-failed)") && said.contains("Your push is kept."), "{said}");
    let failing = pusher.commit("#! build fails 8", "two").await;
    let said = pusher.push(&["-o", "wait", "-o", "unknown=1", "HEAD:main"]).await.unwrap_err();
    assert!(said.contains("Failed (build-failed)") && said.contains("the deployment is not live"), "{said}");
    assert!(pusher.git(&["ls-remote", &pusher.remote(), "main"]).await.unwrap().contains(&failing));
    pusher.commit("", "three").await;
    let said = pusher.push(&["-o", "wait", "HEAD:main"]).await.unwrap();
    assert!(said.contains("Live: http") && !said.contains("not live"), "{said}");
    // There is nothing to wait for.
    for what in [&["HEAD:side"][..], &["-o", "unknown", "HEAD:other"]] {
        let said = pusher.push(&[&["-o", "wait"], what].concat()).await.unwrap();
        assert!(said.contains("Kept."), "{said}");
    }
    // One that is ended by somebody else is not live, either.
    pusher.commit("#! build never", "four").await;
    let cancelled = async {
        until("it is built", async || pusher.states().await[0] == DeploymentState::Building).await;
        let id = pusher.host.newest(&pusher.blog).await.id;
        pusher.ask("DELETE", &format!("/deployments/{id}"), json!({})).await
    };
    let (said, _) = tokio::join!(pusher.push(&["-o", "wait", "HEAD:main"]), cancelled);
    assert!(said.unwrap_err().contains("the deployment is not live"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_the_agent_leaves_behind_says_how_it_goes_on() {
    let pusher = Pusher::start().await;
    pusher.commit("#! build never", "one").await;
    let stopping = async {
        until("it is built", async || pusher.states().await == [DeploymentState::Building]).await;
        pusher.host.parts().stopping.cancel();
    };
    let (said, ()) = tokio::join!(pusher.push(&["HEAD:main"]), stopping);
    let said = said.unwrap();
    let wanted = "The agent restarts. Your push is kept and goes on: podkeeper deployments blog";
    assert!(said.contains(wanted) && !said.contains("[restarting]"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_went_live_has_failed_and_nothing_ran_before() {
    let pusher = Pusher::start().await;
    let state = async || pusher.host.parts().services.states().await.unwrap().remove(&pusher.blog).unwrap().condition;
    assert_eq!(state().await, Condition::NeverDeployed);
    let (_, shown) = pusher.ask("GET", "/services/blog", json!({})).await;
    assert_eq!(shown["state"], "never-deployed");
    pusher.commit("#! build fails 7", "one").await;
    let said = pusher.push(&["HEAD:main"]).await.unwrap();
    assert!(said.contains("Your push is kept.") && !said.contains("ran before"), "{said}");
    assert_eq!(state().await, Condition::Failed);
    // Also where nothing was there to build.
    let empty = pusher.host.create("shop").await;
    let (status, deployment) = pusher.ask("POST", "/services/shop/start", json!({})).await;
    assert_eq!(status, 202, "{deployment}");
    let ended = pusher.host.newest(&empty).await;
    let ended = pusher.host.ended(&ended).await;
    assert_eq!(&*ended.problem.unwrap().detail, "The repository has no commit on the branch `main`.");
    let states = pusher.host.parts().services.states().await.unwrap();
    assert_eq!(states[&empty].condition, Condition::Failed);
    // What runs goes on, with its own commit beside it.
    let live = pusher.commit("", "two").await;
    pusher.push(&["HEAD:main"]).await.unwrap();
    pusher.commit("#! build fails 7", "three").await;
    let said = pusher.push(&["HEAD:main"]).await.unwrap();
    assert!(said.contains("Your push is kept; what ran before goes on."), "{said}");
    let status = pusher.host.parts().services.states().await.unwrap().remove(&pusher.blog).unwrap();
    assert_eq!((status.condition, status.commit.unwrap().as_str()), (Condition::Running, live.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_author_wants_to_be_skipped_is_kept_until_somebody_builds_it() {
    let pusher = Pusher::start().await;
    pusher.commit("", "one").await;
    pusher.push(&["HEAD:main"]).await.unwrap();
    let deployed = async || pusher.states().await.len();
    let marked = pusher.commit("", "two [skip ci]").await;
    let said = pusher.push(&["-o", "wait", "HEAD:main"]).await.unwrap();
    assert!(said.contains("Kept, and not built, since its message has `[skip ci]`."), "{said}");
    pusher.commit("", "three").await;
    let said = pusher.push(&["-o", "ci.skip", "HEAD:main"]).await.unwrap();
    assert!(said.contains("Kept, and not built, as you wished.") && said.contains("podkeeper deploy blog"), "{said}");
    pusher.maintained().await;
    assert_eq!(deployed().await, 1);
    // One that nobody told of is judged, too.
    pusher.host.commit_message(&pusher.blog, "", "four [ci skip]");
    pusher.maintained().await;
    assert_eq!(deployed().await, 1);
    let (status, _) = pusher.ask("POST", "/services/blog/start", json!({ "commit": marked })).await;
    assert_eq!(status, 202);
    // Who wants no marks gets none.
    pusher.ask("PATCH", "/services/blog", json!({ "skip_marks": false })).await;
    pusher.commit("", "five [skip ci]").await;
    let said = pusher.push(&["HEAD:main"]).await.unwrap();
    assert!(said.contains("Live: http"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_deployed_by_its_id_once() {
    let pusher = Pusher::start().await;
    let first = pusher.commit("", "one").await;
    pusher.push(&["HEAD:main"]).await.unwrap();
    let second = pusher.commit("", "two").await;
    pusher.push(&["HEAD:main"]).await.unwrap();
    let ask = async |commit: &str| {
        let (status, answer) = pusher.ask("POST", "/services/blog/start", json!({ "commit": commit })).await;
        (status, answer["id"].as_i64().unwrap_or_default(), answer)
    };
    // What runs is not built again.
    let newest = pusher.host.newest(&pusher.blog).await.id.0;
    assert_eq!(ask(&second).await.1, newest);
    let (status, id, _) = ask(&first).await;
    assert!(status == 202 && id > newest);
    let ended = pusher.host.newest(&pusher.blog).await;
    let ended = pusher.host.ended(&ended).await;
    assert_eq!((ended.state, ended.commit.unwrap().as_str()), (DeploymentState::Live, first.as_str()));
    // The branch's newest commit is nobody's new push because of that.
    pusher.maintained().await;
    assert_eq!(pusher.host.newest(&pusher.blog).await.id.0, id);
    let (status, _, answer) = ask(&"0123456789".repeat(4)).await;
    assert!(status >= 400 && answer["detail"].as_str().unwrap().contains("no commit 0123"), "{answer}");
    let (status, _, answer) = ask("main").await;
    assert!(status == 400 && !answer["detail"].as_str().unwrap().is_empty(), "{answer}");
    // It starts what is stopped, and builds what runs no more.
    pusher.ask("POST", "/services/blog/stop", json!({})).await;
    assert_eq!(pusher.host.service(&pusher.blog).await.desired, Desired::Stopped);
    assert!(ask(&first).await.1 > id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_where_none_is_set_is_asked_for_again() {
    let pusher = Pusher::start().await;
    let login = data_encoding::BASE64.encode(b"ann:wrong");
    let basic = format!("Basic {login}");
    let path = "/git/blog.git/info/refs?service=git-receive-pack";
    let answer = raw(pusher.host.address(), &request("GET", path, &[("Authorization", &basic)], "")).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.header("www-authenticate").unwrap().starts_with("basic realm="));
    assert!(answer.body.contains("no git password is set") && answer.body.contains("podkeeper token create"));
}
