//! `podkeeper post-receive`: git runs it when a push has moved refs. It tells the agent, and prints what the agent
//! tells of the deployment, which the person who pushes reads as `remote:` lines.
//!
//! Whatever becomes of it, the push stands: the agent compares branches with deployments when it starts.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Request, header};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::exchange;

/// The most refs of one push that are told of by name, beside those that may be the service's branch. The others are counted.
const REFS: usize = 100;
/// How many options of a push are looked at.
const OPTIONS: usize = 100;
/// The options that mean something here; others are taken and mean nothing.
const WAIT: &str = "wait";
/// As GitLab has it, and in our words.
const SKIP: [&str; 2] = ["ci.skip", "skip"];

/// How long the agent may take to write the push down.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a deployment may have nothing to tell. An agent that ends or hangs closes the connection, so this is only for
/// what nobody has thought of.
const SILENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest refusal that is read.
const REFUSAL: usize = 64 * 1024;

/// Why a push is not followed to its end.
enum Lost {
    /// The agent was never reached.
    Away,
    /// It went in the middle.
    Ended,
}

/// Reads the moved refs from standard input and follows the deployment they make.
pub fn run() -> io::Result<()> {
    let variable = |name| std::env::var(name).map_err(|_| io::Error::other(format!("{name} is not set")));
    let branch = std::env::var("PODKEEPER_BRANCH").unwrap_or_default();
    let Moved { refs, others } = read_moved(io::stdin().lock(), &branch);
    let socket = PathBuf::from(variable("PODKEEPER_SOCKET")?);
    let service = variable("PODKEEPER_SERVICE")?;
    let actor = std::env::var("REMOTE_USER").unwrap_or_default();
    let options = options(|name| std::env::var(name).ok());
    let has = |wanted: &[&str]| options.iter().any(|option| wanted.contains(&option.as_str()));
    let body = serde_json::json!({
        "actor": actor, "refs": refs, "others": others, "push": std::env::var("PODKEEPER_PUSH").ok(),
        "wait": has(&[WAIT]), "skip": has(&SKIP),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout().lock();
    match runtime.block_on(follow(&socket, &service, body.to_string())) {
        Ok(()) => Ok(()),
        Err(Lost::Away) => writeln!(
            out,
            "The agent is not there at the moment. The push is kept, and is deployed as soon as it is back."
        ),
        Err(Lost::Ended) => writeln!(
            out,
            "The agent has ended. Your push is kept, and goes on as soon as it is back: podkeeper deployments {service}"
        ),
    }
}

/// What of a push has moved.
struct Moved {
    refs: Vec<serde_json::Value>,
    /// How many more.
    others: u64,
}

/// Reads what has moved, to its end, however much that is. What may be the service's branch is told in any case.
fn read_moved(mut input: impl BufRead, branch: &str) -> Moved {
    let wanted = [branch, "main", "master"].map(|name| format!("refs/heads/{name}"));
    let mut moved = Moved { refs: Vec::new(), others: 0 };
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let bytes = std::mem::take(&mut line);
        // A ref whose name is no UTF-8 is none of a service, and hides none behind it.
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        let mut words = text.trim_end_matches('\n').split(' ');
        let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        if moved.refs.len() < REFS || wanted.iter().any(|wanted| wanted == name) {
            moved.refs.push(serde_json::json!({ "old": old, "new": new, "ref": name }));
        } else {
            moved.others += 1;
        }
    }
    moved
}

/// What was given with `git push -o`, as git hands it to its hooks (githooks(5)).
fn options(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let count = variable("GIT_PUSH_OPTION_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0_usize);
    (0..count.min(OPTIONS)).filter_map(|at| variable(&format!("GIT_PUSH_OPTION_{at}"))).collect()
}

async fn follow(socket: &std::path::Path, service: &str, body: String) -> Result<(), Lost> {
    let stream = UnixStream::connect(socket).await.map_err(|_| Lost::Away)?;
    let request = Request::post(format!("/internal/push/{service}"))
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .map_err(|_| Lost::Away)?;
    let answer = exchange::ask(stream, request, Instant::now() + LIMIT).await.map_err(|_| Lost::Away)?;
    if !answer.status().is_success() {
        let refusal = answer.whole(REFUSAL, Instant::now() + LIMIT).await.map_err(|_| Lost::Ended)?;
        return print(refused(&refusal).as_bytes());
    }
    let mut pieces = pin!(answer.pieces(SILENCE));
    while let Some(piece) = pieces.next().await {
        print(&piece.map_err(|_| Lost::Ended)?)?;
    }
    Ok(())
}

fn print(bytes: &[u8]) -> Result<(), Lost> {
    let mut out = io::stdout().lock();
    // Nobody reads it any more.
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|_| Lost::Ended)
}

/// What the pusher reads of a problem, which leaves the push as it is.
fn refused(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        detail: String,
        hint: Option<String>,
    }
    let refusal = serde_json::from_slice(body);
    let Refusal { detail, hint } =
        refusal.unwrap_or_else(|_| Refusal { detail: "The agent's answer can't be read.".into(), hint: None });
    let next = hint.map(|hint| format!("Next: {hint}\n")).unwrap_or_default();
    format!("Your push is kept, and not deployed: {detail}\n{next}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_refs_are_read_as_git_writes_them() {
        let Moved { refs, others } =
            read_moved(&b"aaa bbb refs/heads/\xff\naaa bbb refs/heads/main\nbad line\n"[..], "main");
        assert_eq!((refs.len(), others), (1, 0));
        assert_eq!(refs[0]["ref"], "refs/heads/main");
    }

    #[test]
    fn the_services_branch_is_told_however_many_others_have_moved() {
        let others = (0..5000).map(|number| format!("aaa bbb refs/heads/x{number}\n"));
        let all: String = others.chain(["aaa bbb refs/heads/zz\n".to_owned()]).collect();
        let Moved { refs, others } = read_moved(all.as_bytes(), "zz");
        assert_eq!((refs.len(), others), (REFS + 1, 4900));
        assert_eq!(refs[REFS]["ref"], "refs/heads/zz");
    }

    #[test]
    fn options_are_bounded_and_unknown_ones_are_no_error() {
        let variable = |name: &str| match name {
            "GIT_PUSH_OPTION_COUNT" => Some("4000000000".to_owned()),
            "GIT_PUSH_OPTION_3" => None,
            name => Some(format!("option of {name}")),
        };
        assert_eq!(options(variable).len(), OPTIONS - 1);
        assert!(options(|_| None).is_empty());
    }

    #[test]
    fn a_refusal_is_told_in_words() {
        let told = refused(br#"{"detail":"No space is left.","hint":"Free some.","status":507}"#);
        assert_eq!(told, "Your push is kept, and not deployed: No space is left.\nNext: Free some.\n");
        assert!(refused(b"<html>").contains("can't be read"));
    }

    proptest::proptest! {
        #[test]
        fn any_input_gives_a_bounded_number_of_refs(input in proptest::collection::vec(proptest::num::u8::ANY, 0..4000)) {
            let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
            proptest::prop_assert!(read_moved(&input[..], "x").refs.len() <= lines.min(REFS + 3));
        }
    }
}
