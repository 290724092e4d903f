//! What pushes may bring: real git, as somebody runs it who may push to one service, against the whole server.

use std::path::Path;
use std::process::Command;

use podkeeper::config::Config;
use podkeeper::names::{Scope, ServiceName};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{PATIENCE, TestAgent};

/// An agent with a service, a token that may push to it, and somebody's clone of it with a commit.
struct Pusher {
    agent: TestAgent,
    token: String,
    clone: tempfile::TempDir,
}

/// Where an object goes that was pushed and is not taken yet.
const INCOMING: &str = "tmp_objdir-incoming";

impl Pusher {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let agent = TestAgent::start_with(|config| {
            config.paths.helpers = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/helpers").parse().unwrap();
            config.builds.min_free_mib = 1;
            change(config);
        })
        .await;
        let service: ServiceName = agent.service("blog").await;
        let row = agent.services.service(&service).await.unwrap();
        agent.services.complete_repository(&row).await.unwrap();
        let token = agent.token("pusher", Scope::Deploy, Some(service)).await.expose_secret().to_owned();
        let pusher = Self { agent, token, clone: tempfile::tempdir().unwrap() };
        assert!(pusher.git(&["init", "--quiet", "--initial-branch=main"]).await.0);
        pusher.commit(&[]).await;
        pusher
    }

    /// Git's end and its words.
    async fn git(&self, arguments: &[&str]) -> (bool, String) {
        let mut git = Command::new("git");
        git.current_dir(self.clone.path()).env_clear().env("PATH", "/usr/bin:/bin").env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("HOME", self.clone.path()).env("GIT_TERMINAL_PROMPT", "0");
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "A").env(format!("GIT_{who}_EMAIL"), "a@example.org");
        }
        git.args(arguments);
        let output = tokio::task::spawn_blocking(move || git.output().unwrap()).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    async fn commit(&self, data: &[u8]) {
        std::fs::write(self.clone.path().join("data"), data).unwrap();
        assert!(self.git(&["add", "data"]).await.0);
        assert!(self.git(&["commit", "--quiet", "--allow-empty", "--message=x"]).await.0);
    }

    async fn push(&self, refs: &[&str]) -> (bool, String) {
        let remote = format!("http://any:{}@{}/git/blog.git", self.token, self.agent.served.address);
        self.git(&[&["push", "--force", &remote], refs].concat()).await
    }

    fn repository(&self) -> std::path::PathBuf {
        self.agent.config.get().paths.repositories().join("blog.git")
    }
}

/// Bytes that nothing makes smaller.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|_| rand::random()).collect()
}

fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_has_so_many_branches_and_tags_and_no_more() {
    let pusher = Pusher::start(|config| config.git.max_refs = 20).await;
    let many: Vec<String> = (0..20).map(|number| format!("HEAD:refs/heads/x/{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    // The service's own branch is there already.
    let before = files(&pusher.repository().join("refs"));
    assert!(before > 0);
    let (done, said) = pusher.push(&many).await;
    assert!(!done && said.contains("at most 20 branches and tags"), "{said}");
    assert_eq!(files(&pusher.repository().join("refs")), before);
    let (done, said) = pusher.push(&many[..10]).await;
    assert!(done, "{said}");
    let (done, said) = pusher.push(&many[..20]).await;
    assert!(!done && said.contains("at most 20 branches and tags"), "{said}");
    // What moves, and what goes, is always taken.
    pusher.commit(b"more").await;
    let (done, said) = pusher.push(&[many[0], ":refs/heads/x/1", "HEAD:refs/tags/new"]).await;
    assert!(done, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_full_at_some_time_however_small_each_push_is() {
    let pusher = Pusher::start(|config| config.git.max_repository_mib = 3).await;
    let mut said = String::new();
    let mut taken = 0;
    // Nothing names what was pushed before.
    for _ in 0..8 {
        assert!(pusher.git(&["checkout", "--quiet", "--orphan", "next"]).await.0);
        pusher.commit(&noise(800 * 1024)).await;
        assert!(pusher.git(&["branch", "--quiet", "--force", "--move", "main"]).await.0);
        let (done, words) = pusher.push(&["HEAD:refs/heads/other"]).await;
        if !done {
            said = words;
            break;
        }
        taken += 1;
    }
    assert!((2..=4).contains(&taken), "{taken}: {said}");
    // By the size of what it would bring, or once it is full.
    assert!(said.contains("exceeds maximum allowed size") || said.contains("413"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_cut_off_leaves_nothing() {
    let pusher = Pusher::start(|_| ()).await;
    pusher.commit(&noise(1024 * 1024)).await;
    let (done, pack) = {
        let file = pusher.clone.path().join("pack");
        let command = format!("git pack-objects --all --stdout --quiet >'{}'", file.display());
        let done = Command::new("sh").arg("-c").arg(command).current_dir(pusher.clone.path()).status().unwrap();
        (done.success(), std::fs::read(file).unwrap())
    };
    assert!(done && pack.len() > 1024 * 1024);
    let (_, head) = pusher.git(&["rev-parse", "HEAD"]).await;
    let line = format!("{} {} refs/heads/other\0report-status\n", "0".repeat(40), head.trim());
    let mut body = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    body.extend_from_slice(&pack[..pack.len() - 1000]);
    let login = data_encoding::BASE64.encode(format!("any:{}", pusher.token).as_bytes());
    let head = format!(
        "POST /git/blog.git/git-receive-pack HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        body.len() + 1000
    );
    let objects = pusher.repository().join("objects");
    let incoming = || {
        let entries = std::fs::read_dir(&objects).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(INCOMING)).count()
    };
    let mut connection = TcpStream::connect(pusher.agent.served.address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&body).await.unwrap();
    let until = |wanted: usize| {
        let incoming = &incoming;
        async move {
            while incoming() != wanted {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, until(1)).await.unwrap();
    drop(connection);
    tokio::time::timeout(std::time::Duration::from_secs(60), until(0)).await.expect("what has come is removed");
    assert!(!pusher.repository().join("refs/heads/other").exists());
}

/// Begins a fetch whose request never ends, and returns when git waits for the rest of it.
async fn begun(pusher: &Pusher, token: &str) -> TcpStream {
    let mut connection = TcpStream::connect(pusher.agent.served.address).await.unwrap();
    connection.write_all(fetch(token, "Expect: 100-continue\r\nContent-Length: 1000\r\n").as_bytes()).await.unwrap();
    goes_on(&mut connection).await;
    connection
}

async fn goes_on(connection: &mut TcpStream) {
    let mut said = [0; 12];
    tokio::time::timeout(PATIENCE, connection.read_exact(&mut said)).await.unwrap().unwrap();
    // git's own answer may come before it has read anything.
    assert!([b"HTTP/1.1 100", b"HTTP/1.1 200"].contains(&&said), "{}", String::from_utf8_lossy(&said));
}

fn fetch(token: &str, headers: &str) -> String {
    let login = data_encoding::BASE64.encode(format!("any:{token}").as_bytes());
    format!(
        "POST /git/blog.git/git-upload-pack HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\n\
         Content-Type: application/x-git-upload-pack-request\r\n{headers}\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_fetches_without_end_leaves_places_to_others() {
    const EACH: usize = 16;
    let pusher = Pusher::start(|_| ()).await;
    let service: ServiceName = "blog".parse().unwrap();
    let [one, other] = ["one", "other"].map(|name| pusher.agent.token(name, Scope::Read, Some(service.clone())));
    let (one, other) = (one.await.expose_secret().to_owned(), other.await.expose_secret().to_owned());
    let mut held = Vec::new();
    for _ in 0..EACH {
        held.push(begun(&pusher, &one).await);
    }
    let mut waits = TcpStream::connect(pusher.agent.served.address).await.unwrap();
    waits.write_all(fetch(&one, "Expect: 100-continue\r\nContent-Length: 1000\r\n").as_bytes()).await.unwrap();
    for _ in 0..4 {
        drop(begun(&pusher, &other).await);
    }
    assert!(waits.try_read(&mut [0]).is_err(), "it has no place");
    drop(held.pop());
    goes_on(&mut waits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_without_its_history_pushes_again_and_again() {
    let pusher = Pusher::start(|_| ()).await;
    for data in [b"1", b"2", b"3"] {
        pusher.commit(data).await;
    }
    let whole = pusher.clone.path().to_owned();
    let shallow = Pusher { clone: tempfile::tempdir().unwrap(), ..pusher };
    let from = format!("file://{}", whole.display());
    std::fs::remove_dir(shallow.clone.path()).unwrap();
    let cloned = Command::new("git").args(["clone", "--quiet", "--depth=1", &from]).arg(shallow.clone.path()).status();
    assert!(cloned.unwrap().success());
    for data in [b"4", b"5"] {
        let (done, said) = shallow.push(&["HEAD:refs/heads/side"]).await;
        assert!(done, "{said}");
        shallow.commit(data).await;
    }
    // What it has is whole: it is cloned, and a push goes on from there.
    let remote = format!("http://any:{}@{}/git/blog.git", shallow.token, shallow.agent.served.address);
    let (done, said) = shallow.git(&["clone", "--quiet", "--branch=side", &remote, "back"]).await;
    assert!(done && shallow.clone.path().join("back/data").exists(), "{said}");
    let (done, said) = shallow.git(&["-C", "back", "push", "--quiet", "origin", "HEAD:refs/heads/again"]).await;
    assert!(done, "{said}");
    let (done, said) = shallow.git(&["--git-dir", shallow.repository().to_str().unwrap(), "fsck", "--full"]).await;
    assert!(done, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_faults_that_harm_nobody_are_taken() {
    let pusher = Pusher::start(|_| ()).await;
    let object = async |kind: &str, content: &[u8]| {
        std::fs::write(pusher.clone.path().join("object"), content).unwrap();
        let (done, id) = pusher.git(&["hash-object", "-w", "--literally", "-t", kind, "object"]).await;
        assert!(done, "{id}");
        id.trim().to_owned()
    };
    let (_, tree) = pusher.git(&["rev-parse", "HEAD^{tree}"]).await;
    let (_, blob) = pusher.git(&["rev-parse", "HEAD:data"]).await;
    let bytes = |id: &str| data_encoding::HEXLOWER.decode(id.trim().as_bytes()).unwrap();
    let padded = object("tree", &[&b"040000 folder\0"[..], &bytes(&tree)].concat()).await;
    let evil = object("tree", &[&b"100644 .git\0"[..], &bytes(&blob)].concat()).await;
    let commit = async |tree: &str, author: &str| {
        let text = format!("tree {}\nauthor {author}\ncommitter {author}\n\nx\n", tree.trim());
        object("commit", text.as_bytes()).await
    };
    let who = "A <a@example.org> 1 +0000";
    for (number, taken) in [
        commit(&padded, who).await,
        commit(&tree, "A <a@example.org> 1 -700").await,
        commit(&tree, "A <a@example.org>1 +0000").await,
        commit(&tree, "A<a@example.org> 1 +0000").await,
    ]
    .iter()
    .enumerate()
    {
        let (done, said) = pusher.push(&[&format!("{taken}:refs/heads/old/{number}")]).await;
        assert!(done, "{said}");
    }
    let dangerous = commit(&evil, who).await;
    let (done, said) = pusher.push(&[&format!("{dangerous}:refs/heads/evil")]).await;
    assert!(!done && said.contains("hasDotgit"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_pushed_beside_the_repository_and_fetched_from_there() {
    let pusher = Pusher::start(|config| config.git.max_push_mib = 1).await;
    let reader = pusher.agent.token("reader", Scope::Read, Some("blog".parse().unwrap())).await;
    let basic = |token: &str| format!("Basic {}", data_encoding::BASE64.encode(format!("any:{token}").as_bytes()));
    let (own, reads) = (basic(&pusher.token), basic(reader.expose_secret()));
    let ask = async |method: &str, path: &str, login: &str, body: &str| {
        let host = pusher.agent.served.address.to_string();
        let json = ("Content-Type", "application/vnd.git-lfs+json");
        let headers = [("Host", host.as_str()), ("Authorization", login), json];
        let path = format!("/git/blog.git/info/lfs/{path}");
        let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let text =
            format!("{method} {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        pusher.agent.ask(&text).await
    };
    let large = "large ".repeat(500);
    let id = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(large.as_bytes()));
    let batch = |operation: &str, size: usize| {
        format!(r#"{{"operation":"{operation}","transfers":["basic"],"objects":[{{"oid":"{id}","size":{size}}}]}}"#)
    };
    let object = format!("objects/{id}");
    assert_eq!(ask("POST", "objects/batch", "Basic ?", &batch("upload", 3000)).await.status, 401);
    let answer = ask("POST", "objects/batch", &own, &batch("upload", 3000)).await;
    let href = format!("http://{}/git/blog.git/info/lfs/objects/{id}", pusher.agent.served.address);
    assert_eq!(answer.json()["objects"][0]["actions"]["upload"]["href"], href.as_str(), "{answer:?}");
    let answer = ask("POST", "objects/batch", &own, &batch("upload", 2 << 20)).await;
    assert_eq!(answer.json()["objects"][0]["error"]["code"], 413, "{answer:?}");
    let answer = ask("POST", "objects/batch", &reads, &batch("download", 3000)).await;
    assert_eq!(answer.json()["objects"][0]["error"]["code"], 404, "{answer:?}");
    // One who may only read pushes nothing, and what is another file is none.
    assert_eq!(ask("PUT", &object, &reads, &large).await.status, 403);
    let answer = ask("PUT", &object, &own, "other").await;
    assert!(answer.status == 400 && answer.json()["message"].as_str().unwrap().contains("announced"), "{answer:?}");
    assert_eq!(ask("PUT", "objects/x", &own, "x").await.status, 404);
    assert_eq!(ask("PUT", &object, &own, &large).await.status, 200);
    let answer = ask("POST", "objects/batch", &own, &batch("upload", 3000)).await;
    assert!(answer.json()["objects"][0].get("actions").is_none(), "it is there: {answer:?}");
    let answer = ask("POST", "objects/batch", &reads, &batch("download", 3000)).await;
    assert_eq!(answer.json()["objects"][0]["actions"]["download"]["href"], href.as_str(), "{answer:?}");
    assert!(ask("GET", &object, &reads, "").await.body.contains(&large));
    let locks = ask("POST", "locks/verify", &own, "{}").await;
    assert!(locks.status == 404 && locks.json()["message"].as_str().unwrap().contains("no locks"), "{locks:?}");
}
