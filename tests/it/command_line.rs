//! The command line as a person at a terminal has it, and as a program that reads from a pipe: against an agent that says
//! whatever it likes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::support::PATIENCE;

const PROGRAM: &str = env!("CARGO_BIN_EXE_podkeeper");

/// What is in every text of that agent: a title, a cleared screen, the clipboard, a link, C1 as UTF-8, a turned order, a
/// bell, a colour that stays, and a sequence that doesn't end.
const HOSTILE: &str = "here\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}]52;c;cHduZWQ=\u{1b}\\\u{1b}]8;;http://evil\u{1b}\\x\u{1b}]8;;\u{1b}\\\
    \u{9b}2J\u{202e}\u{7}\u{8}\u{7f}\u{1b}[31mred\u{1b}[";

/// An answer that has every field which some command reads.
fn answer(path: &str) -> Value {
    let one = json!({
        "id": 7, "name": HOSTILE, "state": HOSTILE, "url": HOSTILE, "created": HOSTILE, "branch": HOSTILE, "commit": HOSTILE,
        "release": HOSTILE, "cause": HOSTILE, "actor": HOSTILE, "health": HOSTILE, "since": HOSTILE, "restarts": HOSTILE,
        "problem": { "code": HOSTILE, "detail": HOSTILE, "hint": HOSTILE }, "tail": HOSTILE, "cursor": null,
        "steps": { "queued": "2026-01-01T00:00:00Z", "starting": "2026-01-01T00:00:00Z" }, "time": HOSTILE,
        "message": HOSTILE, "description": HOSTILE, "registry": HOSTILE, "username": HOSTILE, "scope": HOSTILE,
        "service": HOSTILE, "expires": HOSTILE, "last_used": HOSTILE, "address": HOSTILE, "action": HOSTILE, "target": HOSTILE,
        "result": HOSTILE, "detail": HOSTILE, "task": HOSTILE, "why": HOSTILE, "hint": HOSTILE, "sender": HOSTILE, "event": HOSTILE, "outcome": HOSTILE, "reason": HOSTILE,
        "received": HOSTILE, "last_deployment": { "state": HOSTILE },
    });
    let mut all = one.clone();
    if path == "/services/status" {
        return json!({ HOSTILE: one });
    }
    for list in
        ["services", "entries", "deployments", "templates", "registries", "tokens", "rows", "deliveries", "troubles"]
    {
        all[list] = json!([one]);
    }
    all["releases"] = json!([{ "release": HOSTILE }]);
    all["env"] = json!({ HOSTILE: HOSTILE });
    all["settings"] = json!({ "health_path": HOSTILE, "domains": [HOSTILE], "volumes": { HOSTILE: HOSTILE } });
    all["source"] = json!({ "type": "external", "uri": HOSTILE });
    for text in ["hook_url", "hook_key", "key", "public_key", "push_url", "head", "token"] {
        all[text] = json!(HOSTILE);
    }
    all["versions"] = json!({ "os": HOSTILE, "kernel": HOSTILE });
    all["space"] = json!({ "measured": HOSTILE, "caches": { HOSTILE: 7 } });
    all["whole"] = json!(true);
    all
}

/// An agent on a socket below the folder, whose answers are `refused` or not.
async fn agent(refused: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let config = format!("[listen]\nlocal = \"{}\"\n", socket.display());
    std::fs::write(folder.path().join("podkeeper.toml"), config).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|four| four == b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
            let (status, body) = match refused {
                true => (
                    409,
                    json!({ "type": format!("urn:podkeeper:problem:{HOSTILE}"), "detail": HOSTILE, "hint": HOSTILE }),
                ),
                false if path.ends_with("/log") || head.contains("follow=true") => {
                    let closed = json!({ "problem": "not-found", "detail": HOSTILE });
                    let entry = json!({ "cursor": "c", "time": HOSTILE, "message": HOSTILE });
                    let text = format!("id: c\ndata: {entry}\n\nevent: closed\ndata: {closed}\n\n");
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n";
                    let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
                    continue;
                }
                false if path == "/deployments/7" => {
                    let mut ended = answer(path);
                    ended["state"] = json!("failed");
                    (200, ended)
                }
                false => (200, answer(path)),
            };
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    folder
}

fn command(folder: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PODKEEPER_CONFIG", folder.join("podkeeper.toml"));
    command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm");
    command
}

/// A program at a terminal of its own.
struct Person {
    child: Child,
    terminal: OwnedFd,
    /// Kept open, so that the terminal is there when the program is not any more.
    _other: OwnedFd,
}

impl Person {
    fn new(folder: &Path, arguments: &[&str]) -> Self {
        let pty = openpty(None, None).unwrap();
        let mut command = command(folder, "setsid", &["--ctty", "--wait", "env", "--default-signal", PROGRAM]);
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = command.args(arguments).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, terminal: pty.master, _other: pty.slave }
    }

    /// What is shown until there is nothing more to come.
    async fn all(self) -> String {
        let Self { mut child, terminal, _other } = self;
        let reading = tokio::task::spawn_blocking(move || {
            let mut shown = Vec::new();
            // It ends with an error when the last of the other side is closed.
            let _ = File::from(terminal).read_to_end(&mut shown);
            shown
        });
        let ended = tokio::task::spawn_blocking(move || child.wait());
        tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap();
        drop(_other);
        String::from_utf8(tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap()).unwrap()
    }

    /// Until this was shown.
    async fn wait(&self, wanted: &'static str) {
        let mut terminal = File::from(self.terminal.try_clone().unwrap());
        let reading = tokio::task::spawn_blocking(move || {
            let (mut shown, mut byte) = (String::new(), [0]);
            while !shown.contains(wanted) {
                terminal.read_exact(&mut byte).unwrap();
                shown.push(char::from(byte[0]));
            }
        });
        tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
    }

    fn types(&self, text: &str) {
        File::from(self.terminal.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
    }

    fn shows_what_is_typed(&self) -> bool {
        let flags = tcgetattr(self.terminal.as_fd()).unwrap().local_flags;
        flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
    }
}

const COMMANDS: &[&[&str]] = &[
    &["ps"],
    &["ps", "--json"],
    &["status"],
    &["logs", "x"],
    &["logs", "-f", "x"],
    &["deploy", "x"],
    &["deployments", "x"],
    &["env", "x"],
    &["settings", "x"],
    &["hook", "x"],
    &["hook", "x", "--rotate"],
    &["deploy-key", "x"],
    &["create", "x", "--from", "https://example.org/x"],
    &["create", "x"],
    &["templates"],
    &["registry", "list"],
    &["host"],
    &["token", "list"],
    &["token", "create", "--name", "x"],
    &["audit", "list"],
    &["audit", "verify"],
    &["open", "x"],
    &["stop", "x"],
    &["remove", "--yes", "x"],
    &["rollback", "x"],
];

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_no_command_prints_what_the_terminal_obeys() {
    let colour = regex::Regex::new("\x1b\\[[0-9;:]*m").unwrap();
    for refused in [false, true] {
        let folder = agent(refused).await;
        for arguments in COMMANDS {
            let shown = Person::new(folder.path(), arguments).all().await;
            if !matches!(arguments[0], "stop" | "remove") || refused {
                assert!(shown.contains("here"), "{arguments:?} prints what the agent says: {shown:?}");
            }
            let bare = colour.replace_all(&shown, "").replace("\r\n", "\n");
            let commands = |c: char| c.is_control() && !"\n\t".contains(c) || ('\u{202a}'..='\u{202e}').contains(&c);
            assert!(!bare.contains(commands), "{arguments:?}: {shown:?}");
            for line in shown.lines() {
                let last = colour.find_iter(line).last().map(|found| found.as_str());
                assert!(matches!(last, None | Some("\x1b[m" | "\x1b[0m")), "{arguments:?}: {line:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_gets_all_bytes() {
    let folder = agent(false).await;
    for arguments in [&["logs", "x"][..], &["env", "x"]] {
        let mut command = command(folder.path(), PROGRAM, arguments);
        let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains(HOSTILE), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_left_as_it_was_whatever_ends_the_question_for_a_password() {
    let folder = agent(false).await;
    for ending in ["\u{3}", "\u{1c}", "SIGTERM", "SIGHUP", "typed\n"] {
        let mut person = Person::new(folder.path(), &["registry", "login", "r.example.org", "-u", "ann"]);
        person.wait("not shown: ").await;
        assert!(!person.shows_what_is_typed());
        match ending.strip_prefix("SIG") {
            None => person.types(ending),
            Some(_) => {
                // The program is the one child of what gave it its terminal.
                let setsid = person.child.id();
                let children = std::fs::read_to_string(format!("/proc/{setsid}/task/{setsid}/children")).unwrap();
                let program = nix::unistd::Pid::from_raw(children.trim().parse().unwrap_or(setsid.try_into().unwrap()));
                nix::sys::signal::kill(program, ending.parse::<nix::sys::signal::Signal>().unwrap()).unwrap();
            }
        }
        let ended = tokio::task::spawn_blocking(move || (person.child.wait().unwrap(), person));
        let (_, person) = tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap();
        assert!(person.shows_what_is_typed(), "after {ending:?}");
    }
}
