//! The command line as a person at a terminal has it, and as a program that reads from a pipe: against an agent that says
//! whatever it likes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::support::PATIENCE;

const PROGRAM: &str = env!("CARGO_BIN_EXE_podkeeper");

/// What is in every text of that agent: a title, a cleared screen, the clipboard, a link, C1 as UTF-8, a turned order, a
/// bell, a colour that stays, and a sequence that doesn't end.
const HOSTILE: &str = "here\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}]52;c;cHduZWQ=\u{1b}\\\u{1b}]8;;http://evil\u{1b}\\x\u{1b}]8;;\u{1b}\\\
    \u{9b}2J\u{202e}\u{7}\u{8}\u{7f}\u{1b}[31mred\u{1b}[";

const THEN: &str = "2026-01-01T00:00:00Z";

/// What the agent has at a path, with hostile text wherever it takes any.
fn answer(method: &str, path: &str) -> Value {
    let deployment = |state: &str| {
        let problem = json!({ "code": "internal", "detail": HOSTILE, "hint": HOSTILE });
        json!({
            "id": 7, "service": "x", "cause": "push", "actor": HOSTILE, "state": state, "commit": null, "release": 1,
            "from_release": null, "steps": { "queued": THEN, "starting": THEN }, "problem": problem, "tail": HOSTILE,
        })
    };
    let service = json!({
        "name": "x", "source": { "type": "external", "uri": HOSTILE }, "branch": "main", "push_url": HOSTILE, "url": HOSTILE,
        "release": 1, "state": "running", "created": THEN, "last_deployment": deployment("live"), "settings": {},
        "hook_url": HOSTILE, "hook_key": HOSTILE, "kept_volumes": [HOSTILE],
    });
    let token = json!({ "name": HOSTILE, "scope": "admin", "service": HOSTILE, "created": THEN, "expires": null, "last_used": null });
    match path.strip_prefix("/services/x").unwrap_or(path) {
        "/services" => json!({ "services": [service], "cursor": null }),
        "/services/status" => json!({ "x": { "state": "running", "sub_state": HOSTILE, "restarts": 0 } }),
        "/logs" => {
            json!({ "entries": [entry("c", HOSTILE)], "cursor": null })
        }
        "/start" | "/restart" | "/rollback" => deployment("queued"),
        "/deployments/7" => deployment("failed"),
        "/deployments" => json!({ "deployments": [deployment("failed")], "cursor": null }),
        "/releases" => json!({ "releases": [], "current": 1, "before": null }),
        "/env" => json!({ "env": { HOSTILE: HOSTILE }, "image": {} }),
        "/hook" | "/hook/rotate" => {
            let delivery = json!({
                "received": THEN, "sender": "github", "event": HOSTILE, "id": HOSTILE, "outcome": "ignored",
                "reason": HOSTILE, "deployment": null, "state": null,
            });
            json!({ "url": HOSTILE, "key": HOSTILE, "deliveries": [delivery] })
        }
        "/deploy-key" => json!({ "public_key": HOSTILE }),
        "/host-key" => {
            let key = json!({ "kind": HOSTILE, "fingerprint": HOSTILE });
            json!({ "host": HOSTILE, "known": [key], "offered": [{ "kind": HOSTILE, "fingerprint": "other" }] })
        }
        "/templates" => {
            json!({ "templates": [{ "name": HOSTILE, "title": HOSTILE, "description": HOSTILE, "port": 80 }] })
        }
        "/registries" => json!({ "registries": [{ "registry": HOSTILE, "username": HOSTILE }] }),
        "/host" => {
            let trouble = json!({
                "service": HOSTILE, "task": HOSTILE, "why": HOSTILE, "hint": HOSTILE, "since": THEN, "last": THEN, "times": 1,
            });
            json!({
                "started": THEN, "disk": {}, "memory": null, "versions": { "podkeeper": HOSTILE, "kernel": HOSTILE },
                "space": { "measured": THEN, "caches": { HOSTILE: 7 } }, "measuring": false, "troubles": [trouble],
                "more_troubles": false,
            })
        }
        "/credentials/tokens" if method == "POST" => json!({ "name": HOSTILE, "token": HOSTILE }),
        "/credentials/tokens" => json!({ "tokens": [token] }),
        "/audit" => {
            let row = json!({
                "id": 1, "refused": false, "time": THEN, "actor": HOSTILE, "address": HOSTILE, "action": HOSTILE,
                "target": HOSTILE, "result": HOSTILE, "count": 1, "since": null, "detail": HOSTILE, "hash": HOSTILE,
            });
            json!({ "rows": [row], "cursor": null, "dropped": [] })
        }
        "/audit/verify" => json!({ "whole": true, "rows": 1, "head": HOSTILE }),
        _ => service,
    }
}

/// A line of a log.
fn entry(cursor: &str, message: &str) -> Value {
    json!({ "cursor": cursor, "time": THEN, "priority": 6, "release": 1, "build": null, "message": message })
}

/// How an agent answers.
#[derive(Clone, Copy)]
enum Says {
    /// What there is.
    Answers,
    /// That it can't be.
    Refuses,
    /// What no command can read.
    Babbles,
}

/// An agent on a socket below the folder.
async fn agent(says: Says) -> tempfile::TempDir {
    let (folder, listener) = listening();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            let mut words = head.split(' ');
            let method = words.next().unwrap_or_default();
            let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default();
            let (status, body) = match says {
                Says::Refuses => (
                    409,
                    json!({ "type": format!("urn:podkeeper:problem:{HOSTILE}"), "detail": HOSTILE, "hint": HOSTILE }),
                ),
                Says::Babbles => {
                    (200, json!({ HOSTILE: HOSTILE, "name": HOSTILE, "services": HOSTILE, "state": HOSTILE }))
                }
                Says::Answers if path.ends_with("/log") || head.contains("follow=true") => {
                    let closed = json!({ "problem": "not-found", "detail": HOSTILE });
                    let text = format!("id: c\ndata: {}\n\nevent: closed\ndata: {closed}\n\n", entry("c", HOSTILE));
                    let _ = stream.write_all(format!("{STREAM}{text}").as_bytes()).await;
                    continue;
                }
                Says::Answers => (200, answer(method, path)),
            };
            let _ = stream.write_all(whole(status, &body.to_string()).as_bytes()).await;
        }
    });
    folder
}

/// The head of an answer that goes on until the connection ends.
const STREAM: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n";

fn whole(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A socket below a folder, which the configuration beside it names.
fn listening() -> (tempfile::TempDir, UnixListener) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let config = format!("[listen]\nlocal = \"{}\"\n", socket.display());
    std::fs::write(folder.path().join("podkeeper.toml"), config).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    (folder, listener)
}

/// A request's head.
async fn head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
    String::from_utf8_lossy(&head).into_owned()
}

/// What a command prints where nobody is at a terminal, and how it ends.
async fn output(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = command(folder, PROGRAM, arguments);
    let running = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap());
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap()
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
    &["host-key", "x"],
    &["source", "x"],
    &["create", "x", "--from", "https://example.org/x"],
    &["create", "x"],
    &["templates"],
    &["registry", "list"],
    &["host"],
    &["token", "list"],
    &["token", "create", "--name", "x"],
    &["audit", "list"],
    &["audit"],
    &["audit", "-n", "3"],
    &["audit", "verify"],
    &["open", "x"],
    &["stop", "x"],
    &["remove", "--yes", "x"],
    &["rollback", "x"],
];

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_no_command_prints_what_the_terminal_obeys() {
    let colour = regex::Regex::new("\x1b\\[[0-9;:]*m").unwrap();
    for says in [Says::Answers, Says::Refuses, Says::Babbles] {
        let folder = agent(says).await;
        for arguments in COMMANDS {
            let shown = Person::new(folder.path(), arguments).all().await;
            match says {
                // Whatever these show of the agent's was read into what holds nothing else.
                Says::Answers if matches!(arguments[0], "status" | "settings" | "stop" | "remove") => {}
                Says::Babbles if matches!(arguments[0], "stop" | "remove") => {}
                Says::Answers | Says::Refuses => {
                    assert!(shown.contains("here"), "{arguments:?} prints what the agent says: {shown:?}");
                }
                Says::Babbles => {
                    assert!(shown.contains("can't be read"), "{arguments:?}: {shown:?}");
                    assert!(!shown.contains("expected") && !shown.contains("here"), "{arguments:?}: {shown:?}");
                }
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
    let folder = agent(Says::Answers).await;
    for arguments in [&["logs", "x"][..], &["env", "x"]] {
        let output = output(folder.path(), arguments).await;
        assert!(String::from_utf8(output.stdout).unwrap().contains(HOSTILE), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_what_the_agent_sent_also_what_this_version_does_not_know() {
    let (folder, listener) = listening();
    let sent = |path: &str| {
        let mut sent = answer("GET", path);
        sent["of_tomorrow"] = json!({ "kind": "new" });
        sent
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let _ = stream.write_all(whole(200, &sent(&path).to_string()).as_bytes()).await;
        }
    });
    for (arguments, path) in [
        (&["host"][..], "/host"),
        (&["env", "x"], "/services/x/env"),
        (&["hook", "x"], "/services/x/hook"),
        (&["token", "list"], "/credentials/tokens"),
        (&["audit", "verify"], "/audit/verify"),
    ] {
        let output = output(folder.path(), &[arguments, &["--json"]].concat()).await;
        let printed = serde_json::from_slice::<Value>(&output.stdout).unwrap();
        assert_eq!(printed["of_tomorrow"]["kind"], "new", "{arguments:?} of {path}: {output:?}");
        assert!(output.status.success() && output.stdout.iter().filter(|byte| **byte == b'\n').count() == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_program_that_did_not_start_ends_with_what_its_unit_says() {
    let (folder, listener) = listening();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            let answer = if head.contains("/logs") {
                json!({ "entries": [entry("a", "STEP 1/1: FROM x")], "cursor": null })
            } else {
                let mut service = answer("GET", "/services/x");
                let last = &mut service["last_deployment"];
                last["state"] = "failed".into();
                last["problem"] = json!({ "code": "start-failed", "detail": "the unit failed", "hint": "mend it" });
                last["tail"] = json!("STEP 1/1: FROM x\nError: no such program: /nothing");
                service
            };
            let _ = stream.write_all(whole(200, &answer.to_string()).as_bytes()).await;
        }
    });
    let shown = output(folder.path(), &["logs", "x"]).await;
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), format!("{} STEP 1/1: FROM x\n", THEN));
    let told =
        "podkeeper: deployment 7 did not start: the unit failed\n  | Error: no such program: /nothing\nNext: mend it\n";
    assert_eq!(String::from_utf8(shown.stderr).unwrap(), told);
    for only in [&["logs", "x", "--json"][..], &["logs", "x", "--grep", "STEP"]] {
        assert!(output(folder.path(), only).await.stderr.is_empty(), "{only:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_followed_goes_on_behind_its_last_line_when_the_agent_is_back() {
    let (folder, listener) = listening();
    let event = |cursor: &str| format!("id: {cursor}\ndata: {}\n\n", entry(cursor, &format!("line {cursor}")));
    let restarting = json!({ "problem": "restarting", "detail": "the agent is stopping" });
    let gone = json!({ "problem": "not-found", "detail": "the service is gone" });
    let answers = [
        // Cut off in the middle of a line.
        format!("{STREAM}{}{}{}", event("a"), event("b"), &event("c")[..20]),
        whole(502, "<html>Bad Gateway</html>"),
        format!("{STREAM}{}event: closed\ndata: {restarting}\n\n", event("c")),
        format!("{STREAM}{}event: closed\ndata: {gone}\n\n", event("d")),
    ];
    let agent = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head(&mut stream).await;
            let last = head.lines().find_map(|line| line.strip_prefix("last-event-id: ")).map(str::to_owned);
            asked.push(last);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    let output = output(folder.path(), &["logs", "-f", "x"]).await;
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = lines.lines().filter_map(|line| line.split_once(' ')).map(|(_, line)| line).collect();
    assert_eq!(lines, ["line a", "line b", "line c", "line d"]);
    let asked = tokio::time::timeout(PATIENCE, agent).await.unwrap().unwrap();
    assert_eq!(asked, [None, Some("b".to_owned()), Some("b".to_owned()), Some("c".to_owned())]);
    let told = String::from_utf8(output.stderr).unwrap();
    // Once each time that it was away, however often it was asked meanwhile.
    assert_eq!(told.matches("the agent is away").count(), 2, "{told}");
    assert!(told.contains("the service is gone") && !output.status.success(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_left_as_it_was_whatever_ends_the_question_for_a_password() {
    let folder = agent(Says::Answers).await;
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

/// An agent whose log has so many lines of this text, each with its number before, and who gives so many an answer at most.
async fn agent_with_lines(all: usize, text: &'static str, most: usize) -> tempfile::TempDir {
    let (folder, listener) = listening();
    let page = move |query: &str| {
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
        };
        let lines = value("lines").unwrap().parse::<usize>().unwrap();
        assert!(lines <= 10_000, "{query}");
        let (lines, cursor) = (lines.min(most), value("cursor").map(|cursor| cursor.parse::<usize>().unwrap()));
        let shown = if value("direction").as_deref() == Some("forward") {
            let from = cursor.map_or(0, |cursor| cursor + 1);
            from..all.min(from + lines)
        } else {
            let to = cursor.unwrap_or(all);
            to.saturating_sub(lines)..to
        };
        let next = if value("direction").is_some() {
            Some(shown.end).filter(|end| *end < all).map(|end| (end - 1).to_string())
        } else {
            Some(shown.start).filter(|start| *start > 0).map(|start| start.to_string())
        };
        let entries: Vec<Value> = shown.map(|number| entry(&number.to_string(), &format!("{number} {text}"))).collect();
        json!({ "entries": entries, "cursor": next }).to_string()
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let body = match path.split_once("/logs?") {
                Some((_, query)) => page(query),
                None => answer("GET", "/services/x").to_string(),
            };
            let _ = stream.write_all(whole(200, &body).as_bytes()).await;
        }
    });
    folder
}

/// The numbers of the lines that were printed.
fn numbers(output: &Output) -> Vec<usize> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_printed_to_as_many_lines_as_are_asked_for_however_many_an_answer_has() {
    let folder = agent_with_lines(25_000, "x", 7_000).await;
    for (arguments, first) in [
        (&["logs", "x", "-n", "20000"][..], 5_000),
        (&["logs", "x", "-n", "100000"], 0),
        (&["logs", "x", "-n", "all"], 0),
        (&["logs", "x", "--since", "1h"], 0),
        (&["logs", "x", "--since", "yesterday", "-n", "3"], 24_997),
        (&["logs", "x"], 24_900),
        (&["logs", "x", "-n", "0"], 25_000),
    ] {
        let printed = numbers(&output(folder.path(), arguments).await);
        assert!(printed.iter().copied().eq(first..25_000), "{arguments:?}: {} lines", printed.len());
    }
}

/// Of more than is held at once only the oldest part is, and the rest is read again behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_long_lines_is_printed_whole() {
    static LONG: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "x".repeat(512 << 10));
    let folder = agent_with_lines(200, &LONG, 16).await;
    let printed = numbers(&output(folder.path(), &["logs", "x", "-n", "190"]).await);
    assert!(printed.iter().copied().eq(10..200), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_lines_says_so_beside_it() {
    let folder = agent_with_lines(0, "x", 10).await;
    for (arguments, told) in [
        (&["logs", "x"][..], "podkeeper: there are no lines of `x` in the journal\n"),
        (&["logs", "x", "--release", "3"], "podkeeper: no line fits of `x` in the journal\n"),
        (&["logs", "x", "--json"], ""),
        (&["logs", "x", "-n", "0"], ""),
    ] {
        let done = output(folder.path(), arguments).await;
        assert!(done.status.success() && done.stdout.is_empty(), "{arguments:?}");
        assert_eq!(String::from_utf8(done.stderr).unwrap(), told, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_text_is_piped_as_it_is_and_shown_by_its_bytes() {
    let (folder, listener) = listening();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            let answer = if head.contains("/logs") {
                let mut line = entry("a", "caf\u{fffd}");
                line["bytes"] = "Y2Fm6Q==".into();
                json!({ "entries": [line], "cursor": null })
            } else {
                answer("GET", "/services/x")
            };
            let _ = stream.write_all(whole(200, &answer.to_string()).as_bytes()).await;
        }
    });
    let piped = output(folder.path(), &["logs", "x"]).await.stdout;
    assert_eq!(piped, format!("{THEN} ").into_bytes().into_iter().chain(*b"caf\xe9\n").collect::<Vec<_>>());
    assert_eq!(Person::new(folder.path(), &["logs", "x"]).all().await, format!("{THEN} caf\\xe9\r\n"));
}

/// One line of JSON.
fn object(text: &[u8]) -> Value {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_json_an_error_is_one_object_on_standard_error() {
    let (folder, listener) = listening();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            head(&mut stream).await;
            let problem = json!({ "type": "urn:podkeeper:problem:not-found", "detail": "None.", "hint": "Look." });
            let _ = stream.write_all(whole(404, &problem.to_string()).as_bytes()).await;
        }
    });
    for arguments in COMMANDS.iter().filter(|arguments| !arguments.contains(&"--json")) {
        let done = output(folder.path(), &[*arguments, &["--json"]].concat()).await;
        let told = json!({ "problem": "not-found", "detail": "None.", "hint": "Look." });
        assert_eq!((object(&done.stderr), done.stdout.len(), done.status.code()), (told, 0, Some(1)), "{arguments:?}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    let config = format!("[listen]\nlocal = \"{}\"\n", nowhere.path().join("none").display());
    std::fs::write(nowhere.path().join("podkeeper.toml"), config).unwrap();
    for (folder, arguments, status, detail) in [
        (nowhere.path(), &["ps", "--json"][..], 1, "can't reach the agent"),
        (nowhere.path(), &["--json", "--host", "http://example.org", "ps"], 1, "is not encrypted"),
        (nowhere.path(), &["env", "x", "nothing", "--json"], 1, "is not KEY=VALUE"),
        (nowhere.path(), &["nothing", "--json"], 2, "unrecognized subcommand"),
        (nowhere.path(), &["logs", "x", "--since", "soon", "--json"], 2, "it takes a length of time"),
        (nowhere.path(), &["doctor", "--host", "https://example.org", "--json"], 1, "names another"),
    ] {
        let done = output(folder, arguments).await;
        let told = object(&done.stderr);
        assert!(
            told["detail"].as_str().unwrap().contains(detail) && told["problem"].is_null(),
            "{arguments:?}: {told}"
        );
        assert!(told["hint"].is_string(), "{arguments:?}: {told}");
        assert_eq!((done.stdout.len(), done.status.code()), (0, Some(status)), "{arguments:?}");
    }
    let help = output(nowhere.path(), &["ps", "--help", "--json"]).await;
    assert!(help.status.success() && help.stderr.is_empty() && !help.stdout.is_empty());
}

/// Whoever names another machine must not be told of this one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_the_machine_itself_takes_no_other() {
    let folder = agent(Says::Answers).await;
    for arguments in [&["doctor"][..], &["config", "check"], &["agent"], &["enroll"]] {
        let by_option = command(folder.path(), PROGRAM, &[arguments, &["--host", "https://example.org"]].concat());
        let mut by_variable = command(folder.path(), PROGRAM, arguments);
        by_variable.env("PODKEEPER_HOST", "https://example.org");
        for mut command in [by_option, by_variable] {
            let running = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap());
            let done = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
            let told = String::from_utf8(done.stderr).unwrap();
            assert!(told.contains("is of the machine that it runs on"), "{arguments:?}: {told}");
            assert!(told.contains("Next: ") && done.stdout.is_empty() && done.status.code() == Some(1), "{told}");
        }
    }
    assert!(output(folder.path(), &["config", "check"]).await.status.success());
}

/// A pipe gets nothing of a list that is empty, and a person reads why.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_none_of_is_said_beside_the_answer() {
    let (folder, listener) = listening();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            let list = if head.contains("/deployments") { "deployments" } else { "services" };
            let nothing = json!({
                list: [], "releases": [], "templates": [], "tokens": [], "registries": [],
                "env": {}, "image": {}, "cursor": null, "current": null, "before": null,
            });
            let nothing = if head.contains("/services/status") { json!({}) } else { nothing };
            let _ = stream.write_all(whole(200, &nothing.to_string()).as_bytes()).await;
        }
    });
    for arguments in [&["ps"][..], &["env", "x"], &["deployments", "x"], &["templates"], &["token"], &["registry"]] {
        let done = output(folder.path(), arguments).await;
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(
            done.status.success() && done.stdout.is_empty() && told.starts_with("podkeeper: "),
            "{arguments:?}: {told}"
        );
        let done = output(folder.path(), &[arguments, &["--json"]].concat()).await;
        assert!(object(&done.stdout).is_object(), "{arguments:?}");
    }
    assert!(
        object(&output(folder.path(), &["env", "x", "--json"]).await.stdout)["env"].as_object().unwrap().is_empty()
    );
}

/// An agent that is asked for one change, what it answers, and with which address and body it was asked.
fn agent_that_plans(plan: Value) -> (tempfile::TempDir, mpsc::UnboundedReceiver<String>) {
    let (folder, listener) = listening();
    let (sender, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            let first = head.lines().next().unwrap_or_default().to_owned();
            sender.send(first.trim_end_matches(" HTTP/1.1").to_owned()).unwrap();
            let _ = stream.write_all(whole(200, &plan.to_string()).as_bytes()).await;
        }
    });
    (folder, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_would_do_is_told_and_not_done() {
    let plan = json!({ "keys": ["A"], "changed": true, "plan": { "set": ["A"], "removed": [], "restarts": true } });
    let (folder, mut asked) = agent_that_plans(plan);
    let done = output(folder.path(), &["env", "x", "A=1", "--dry-run"]).await;
    assert_eq!(asked.recv().await.unwrap(), "POST /services/x/env/update?dry_run=true");
    let told = "A would be set\nx would be started anew with it, beside what runs\n";
    assert_eq!((String::from_utf8(done.stdout).unwrap().as_str(), done.status.success()), (told, true));

    let changes = json!({
        "domains": { "before": [], "after": ["a.example"], "counts": "now" },
        "memory_mib": { "before": null, "after": 64, "counts": "next-release" },
        "of_tomorrow": { "before": null, "after": "x", "counts": "next-build" },
    });
    let (folder, mut asked) = agent_that_plans(json!({ "changes": changes, "restarts": false }));
    let done = output(folder.path(), &["settings", "x", "memory_mib=64", "--dry-run"]).await;
    assert_eq!(asked.recv().await.unwrap(), "PATCH /services/x?dry_run=true");
    let told = "\
        SETTING      BEFORE  AFTER      WOULD COUNT\n\
        domains      -       a.example  from now on\n\
        memory_mib   -       64         from the next release on\n\
        of_tomorrow  -       x          from the next build on\n\
        nothing would be restarted\n";
    assert_eq!((String::from_utf8(done.stdout).unwrap().as_str(), done.status.success()), (told, true));
    assert!(asked.try_recv().is_err());
}

/// An agent whose service has the variable `A`, and the bodies of the changes that it is asked for.
fn agent_with_variables() -> (tempfile::TempDir, mpsc::UnboundedReceiver<Value>) {
    let (folder, listener) = listening();
    let (sender, changes) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let (head, body) = loop {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
                let text = String::from_utf8_lossy(&request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let answer = if head.starts_with("POST /services/x/env/update ") {
                sender.send(serde_json::from_str(&body).unwrap()).unwrap();
                json!({ "keys": ["A"], "changed": true })
            } else {
                json!({ "env": { "A": "hunter2" }, "image": {} })
            };
            let _ = stream.write_all(whole(200, &answer.to_string()).as_bytes()).await;
        }
    });
    (folder, changes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_variables_arrives_as_it_was_meant_and_the_port_is_passed_over_with_a_word() {
    let (folder, mut changes) = agent_with_variables();
    let file = folder.path().join("secrets.env");
    let key = "-----BEGIN KEY-----\nAb+/=\n-----END KEY-----";
    let text = format!("\u{feff}PORT=80\r\nA=x # why\r\nKEY=\"{key}\"\r\nexport discovery.type=single-node\r\n");
    std::fs::write(&file, text).unwrap();
    let done = output(folder.path(), &["env", "x", "--file", file.to_str().unwrap()]).await;
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && told.contains("`PORT` in line 1 is passed over"), "{told}");
    let env = json!({ "A": "x", "KEY": key, "discovery.type": "single-node" });
    assert_eq!(changes.recv().await.unwrap(), json!({ "env": env, "restart": true }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_variables_that_is_wrong_changes_nothing_and_is_told_by_its_line_alone() {
    let (folder, mut changes) = agent_with_variables();
    let file = folder.path().join("secrets.env");
    for text in [&b"A=1\nB=\"hunter2\n"[..], b"A=1\nhunter2", b"A=1\nB='hunter2' hunter2", b"A=1\n\xffhunter2=1"] {
        std::fs::write(&file, text).unwrap();
        let done = output(folder.path(), &["env", "x", "--file", file.to_str().unwrap()]).await;
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(told.contains("line 2") || told.contains("UTF-8"), "{told}");
        assert!(!done.status.success() && done.stdout.is_empty() && !told.contains("hunter"), "{told}");
    }
    assert!(changes.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_nothing_asks_for_none_and_prints_no_value() {
    let (folder, mut changes) = agent_with_variables();
    let file = folder.path().join("secrets.env");
    std::fs::write(&file, "# nothing\nPORT=80\n").unwrap();
    let done = output(folder.path(), &["env", "x", "--file", file.to_str().unwrap(), "--remove", "NOTTHERE"]).await;
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "nothing is changed\n");
    let told = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && told.contains("`NOTTHERE` is not set"), "{told}");
    assert!(changes.try_recv().is_err());
}
