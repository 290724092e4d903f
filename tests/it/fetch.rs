//! Repositories elsewhere, fetched by real git over http from a forge that wants to know who reads it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use podkeeper::config::{Config, LiveConfig};
use podkeeper::git::{GitError, Repositories};
use podkeeper::names::{AbsPath, CommitId, RepoUri};
use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "ghp_0nlyThisTokenReadsIt";

pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "A").env(format!("GIT_{who}_EMAIL"), "a@example.org");
    }
    let output = git.args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The command lines and environments of all processes that can be looked at.
fn processes() -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            all.push_str(&String::from_utf8_lossy(&bytes).replace('\0', " "));
            all.push('\n');
        }
    }
    all
}

/// What is answered whose path begins so, in the place of a repository.
type Answers = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// What the forge was told, and what the host showed while git waited for its answer.
#[derive(Default)]
pub struct Seen {
    pub logins: Vec<String>,
    processes: String,
}

/// `git http-backend` behind a small server. Whoever tells no user is asked; the login `wanted` alone is let in, or where
/// it is empty everybody.
pub struct Forge {
    pub address: std::net::SocketAddr,
    pub folder: tempfile::TempDir,
    pub seen: Arc<Mutex<Seen>>,
    answers: Answers,
    head: CommitId,
    /// How many requests it has answered.
    asked: Arc<AtomicUsize>,
}

impl Forge {
    pub async fn start(wanted: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "--initial-branch=main", "r.git"]);
        let repository = folder.path().join("r.git");
        git(&repository, &["commit", "--quiet", "--allow-empty", "--message=one"]);
        let head = git(&repository, &["rev-parse", "HEAD"]).parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Seen::default())));
        let (root, shown, wanted) = (folder.path().to_owned(), Arc::clone(&seen), wanted.to_owned());
        let answers = Answers::default();
        let other = Arc::clone(&answers);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, root.clone(), Arc::clone(&shown), Arc::clone(&other), wanted.clone()));
            }
        });
        Self { address, folder, seen, answers, head, asked }
    }

    /// From here on paths that begin with `path` are answered with this, and no repository.
    pub fn answer(&self, path: &str, answer: impl Into<Vec<u8>>) {
        self.answers.lock().unwrap().push((path.to_owned(), answer.into()));
    }

    /// The agent's repositories. What git runs tells who ran it before it does its work.
    pub fn repositories(&self) -> Repositories {
        self.repositories_with(|_| {})
    }

    fn repositories_with(&self, change: impl FnOnce(&mut Config)) -> Repositories {
        let helpers = self.folder.path().join("helpers");
        std::fs::create_dir_all(&helpers).unwrap();
        for name in ["askpass", "credential"] {
            let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/helpers").join(name);
            let script = format!(
                "#!/bin/sh\ncat /proc/$$/cmdline /proc/$PPID/cmdline >>'{0}/ran'\nexec '{1}' \"$@\"\n",
                helpers.display(),
                own.display()
            );
            std::fs::write(helpers.join(name), script).unwrap();
            std::fs::set_permissions(helpers.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut config = Config::default();
        config.paths.state = AbsPath::try_from(self.folder.path().join("state")).unwrap();
        config.paths.helpers = AbsPath::try_from(helpers).unwrap();
        config.git.allow_private = true;
        config.waits.announced_look = Duration::from_millis(5);
        change(&mut config);
        Repositories::new(LiveConfig::new(config))
    }

    async fn fetch(&self, user: &str) -> Result<CommitId, GitError> {
        let text = format!("http://{user}{}/r.git", self.address);
        let (uri, secret) = RepoUri::parse(&text).unwrap();
        // As the store keeps it and a deployment reads it.
        let uri = RepoUri::stored(&uri.to_string(), secret.is_some()).unwrap();
        let (name, main) = ("blog".parse().unwrap(), "main".parse().unwrap());
        let fetched = self.repositories().fetch(&name, &uri, Some(&main), secret.as_ref()).await?;
        Ok(fetched.commit)
    }

    /// All that could be seen of it from beside.
    fn shown(&self) -> String {
        let mut all = std::mem::take(&mut self.seen.lock().unwrap().processes);
        let ran = std::fs::read(self.folder.path().join("helpers/ran")).unwrap_or_default();
        all.push_str(&String::from_utf8_lossy(&ran));
        all.push_str(&files(&self.folder.path().join("state")));
        all
    }
}

/// What lies in a folder.
fn files(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            all.push_str(&files(&entry.path()));
        } else {
            all.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()));
        }
    }
    all
}

async fn serve(
    stream: TcpStream,
    root: PathBuf,
    seen: Arc<Mutex<Seen>>,
    answers: Answers,
    wanted: String,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head: Vec<String> = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let header = |name: &str| -> &str {
        let found =
            head.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    };
    let mut words = head[0].split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut body = vec![0; header("Content-Length").parse().unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let login = header("Authorization").strip_prefix("Basic ").map(|text| BASE64_STANDARD.decode(text).unwrap());
    let login = login.map(|login| String::from_utf8(login).unwrap());
    if let Some(login) = &login {
        // Git waits for this answer.
        let shown = processes();
        let mut seen = seen.lock().unwrap();
        seen.logins.push(login.clone());
        seen.processes.push_str(&shown);
    }
    let other =
        answers.lock().unwrap().iter().find(|(begin, _)| path.starts_with(begin)).map(|(_, answer)| answer.clone());
    let answer = if let Some(answer) = other {
        answer
    } else if wanted.is_empty() || login.as_deref() == Some(&wanted) {
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let mut backend = Command::new("git");
        backend.arg("http-backend").env("GIT_PROJECT_ROOT", &root).env("GIT_HTTP_EXPORT_ALL", "1");
        let inside = path.replacen(".git/", ".git/.git/", 1);
        backend.env("PATH_INFO", inside).env("QUERY_STRING", query);
        backend.env("REQUEST_METHOD", method).env("CONTENT_TYPE", header("Content-Type"));
        backend.env("HTTP_CONTENT_ENCODING", header("Content-Encoding")).env("GIT_PROTOCOL", header("Git-Protocol"));
        backend.env("CONTENT_LENGTH", body.len().to_string());
        let mut backend = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        std::io::Write::write_all(&mut backend.stdin.take().unwrap(), &body)?;
        let output = backend.wait_with_output()?.stdout;
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n", output.as_slice()].concat()
    } else {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"forge\"\r\n";
        format!("{head}Connection: close\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

#[tokio::test]
async fn a_token_in_the_place_of_a_user_is_told_to_the_forge_and_nobody_else() {
    let forge = Forge::start(&format!("{TOKEN}:")).await;
    assert_eq!(forge.fetch(&format!("{TOKEN}@")).await.unwrap(), forge.head);
    assert!(forge.seen.lock().unwrap().logins.iter().all(|login| *login == format!("{TOKEN}:")));
    let shown = forge.shown();
    assert!(shown.contains("remote-http http://127.0.0.1"), "git was seen: {shown}");
    assert!(shown.contains("credential"), "git's question was seen");
    assert!(!shown.contains(TOKEN), "{}", shown.lines().find(|line| line.contains(TOKEN)).unwrap_or_default());
}

#[tokio::test]
async fn a_password_goes_the_same_way() {
    for (user, login) in
        [("ann:p%40ss%2Fw%C3%B6rd%2541@", "ann:p@ss/wörd%41"), (":s3cr3t-of-nobody@", "git:s3cr3t-of-nobody")]
    {
        let forge = Forge::start(login).await;
        assert_eq!(forge.fetch(user).await.unwrap(), forge.head);
        let shown = forge.shown();
        let (_, password) = login.split_once(':').unwrap();
        assert!(shown.contains("remote-http http://127.0.0.1") && !shown.contains(password), "{user}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_told_and_not_shown() {
    let forge = Forge::start("ann:right").await;
    for user in [format!("{TOKEN}@"), format!("ann:{TOKEN}@"), String::new()] {
        let error = forge.fetch(&user).await.unwrap_err();
        let told = format!("{error:?} {error} {}", error.problem());
        assert!(told.contains("lets nobody read") && !told.contains(TOKEN), "{told}");
        assert!(!forge.shown().contains(TOKEN));
    }
    assert!(!forge.seen.lock().unwrap().logins.contains(&"ann:right".to_owned()));
}

#[tokio::test]
async fn what_ends_a_line_is_no_password() {
    // As an older agent kept it.
    let forge = Forge::start("ann:right").await;
    let (uri, _) = RepoUri::parse(&format!("http://ann:x@{}/r.git", forge.address)).unwrap();
    let kept = SecretString::from("right\nusername=root".to_owned());
    let (name, main) = ("blog".parse().unwrap(), "main".parse().unwrap());
    let error = forge.repositories().fetch(&name, &uri, Some(&main), Some(&kept)).await.unwrap_err();
    assert!(matches!(error, GitError::Credential), "{error}");
    assert_eq!(forge.seen.lock().unwrap().logins, Vec::<String>::new());
}

impl Forge {
    /// A commit behind another, which no branch has.
    fn commit_behind(&self, parent: &CommitId, message: &str) -> CommitId {
        let repository = self.folder.path().join("r.git");
        let tree = format!("{parent}^{{tree}}");
        git(&repository, &["commit-tree", "-p", parent.as_str(), "-m", message, &tree]).parse().unwrap()
    }

    /// The branch has it now.
    fn show(&self, commit: &CommitId) {
        git(&self.folder.path().join("r.git"), &["update-ref", "refs/heads/main", commit.as_str()]);
    }

    /// What is fetched where its hook has told of this commit.
    async fn fetch_announced(&self, repositories: &Repositories, announced: &CommitId) -> Result<CommitId, GitError> {
        let (uri, _) = RepoUri::parse(&format!("http://ann:x@{}/r.git", self.address)).unwrap();
        let (name, main) = ("blog".parse().unwrap(), "main".parse().unwrap());
        let secret = SecretString::from("right".to_owned());
        repositories
            .fetch_announced(&name, &uri, Some(&main), Some(&secret), announced)
            .await
            .map(|fetched| fetched.commit)
    }
}

#[tokio::test]
async fn what_a_hook_told_of_is_built_or_what_is_newer_and_nothing_older() {
    let forge = Forge::start("ann:right").await;
    let repositories = forge.repositories();
    let first = forge.head.clone();
    assert_eq!(forge.fetch_announced(&repositories, &first).await.unwrap(), first);
    // The forge has it, and its branch does not show it yet.
    let second = forge.commit_behind(&first, "two");
    assert_eq!(forge.fetch_announced(&repositories, &second).await.unwrap(), second);
    // It has moved on since: what is newest is built, also where an old delivery comes again.
    let third = forge.commit_behind(&second, "three");
    forge.show(&third);
    for told in [&second, &first, &third] {
        assert_eq!(forge.fetch_announced(&repositories, told).await.unwrap(), third);
    }
    // Another history took its place.
    let other = forge.commit_behind(&first, "another");
    forge.show(&other);
    assert_eq!(forge.fetch_announced(&repositories, &third).await.unwrap(), other);
}

#[tokio::test]
async fn a_forge_that_is_late_is_waited_for_and_one_that_never_shows_it_fails_the_deployment() {
    let forge = Forge::start("ann:right").await;
    // It is made elsewhere, and comes later.
    let elsewhere = forge.folder.path().join("elsewhere");
    git(forge.folder.path(), &["clone", "--quiet", "r.git", "elsewhere"]);
    git(&elsewhere, &["commit", "--quiet", "--allow-empty", "--message=two"]);
    let second: CommitId = git(&elsewhere, &["rev-parse", "HEAD"]).parse().unwrap();
    let repositories = forge.repositories_with(|config| config.waits.announced = Duration::ZERO);
    let error = forge.fetch_announced(&repositories, &second).await.unwrap_err();
    assert!(matches!(&error, GitError::NotShown { commit, .. } if *commit == second), "{error}");
    let problem = error.problem();
    assert!(problem.detail.contains(second.as_str()) && problem.hint.unwrap().contains("podkeeper deploy"));

    let repositories = forge.repositories();
    let before = forge.asked.load(Ordering::SeqCst);
    let arrives = async {
        // It was looked for a few times.
        while forge.asked.load(Ordering::SeqCst) < before + 12 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        git(&forge.folder.path().join("r.git"), &["fetch", "--quiet", "../elsewhere", "main"]);
        forge.show(&second);
    };
    let (fetched, ()) = tokio::join!(forge.fetch_announced(&repositories, &second), arrives);
    assert_eq!(fetched.unwrap(), second);
}

#[tokio::test]
async fn a_commit_is_fetched_by_its_id() {
    let forge = Forge::start("ann:right").await;
    let second = forge.commit_behind(&forge.head, "two");
    forge.show(&second);
    let repositories = forge.repositories();
    let (uri, _) = RepoUri::parse(&format!("http://ann:x@{}/r.git", forge.address)).unwrap();
    let (name, main) = ("blog".parse().unwrap(), "main".parse().unwrap());
    let secret = SecretString::from("right".to_owned());
    for wanted in [&second, &forge.head] {
        let fetched = repositories.fetch_commit(&name, &uri, Some(&main), Some(&secret), wanted).await.unwrap();
        assert_eq!((&fetched.commit, repositories.has(&name, wanted).await), (wanted, true));
    }
    let none = "0123456789".repeat(4).parse().unwrap();
    let error = repositories.fetch_commit(&name, &uri, Some(&main), Some(&secret), &none).await.unwrap_err();
    assert!(matches!(error, GitError::NoSuchCommit(_)), "{error}");
}
