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

/// The most refs of one push that are looked at.
const REFS: usize = 1000;

/// How long the agent may take to write the push down.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a deployment may have nothing to tell. An agent that ends or hangs closes the connection, so this is only for
/// what nobody has thought of.
const SILENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the moved refs from standard input and follows the deployment they make.
pub fn run() -> io::Result<()> {
    let moved = read_moved(io::stdin().lock());
    let variable = |name| std::env::var(name).map_err(|_| io::Error::other(format!("{name} is not set")));
    let socket = PathBuf::from(variable("PODKEEPER_SOCKET")?);
    let service = variable("PODKEEPER_SERVICE")?;
    let actor = std::env::var("REMOTE_USER").unwrap_or_default();
    let body = serde_json::json!({ "actor": actor, "refs": moved });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if runtime.block_on(follow(&socket, &service, body.to_string())).is_err() {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "The agent is not there at the moment. The push is kept, and is deployed as soon as it is back."
        )?;
    }
    Ok(())
}

fn read_moved(input: impl BufRead) -> Vec<serde_json::Value> {
    let lines = input.lines().take(REFS);
    lines
        // A ref whose name is no UTF-8 is none of a service, and hides none behind it.
        .filter_map(Result::ok)
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (old, new, name) = (words.next()?, words.next()?, words.next()?);
            Some(serde_json::json!({ "old": old, "new": new, "ref": name }))
        })
        .collect()
}

async fn follow(socket: &std::path::Path, service: &str, body: String) -> io::Result<()> {
    let stream = UnixStream::connect(socket).await?;
    let request = Request::post(format!("/internal/push/{service}"))
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .map_err(io::Error::other)?;
    let answer = exchange::ask(stream, request, Instant::now() + LIMIT).await.map_err(io::Error::other)?;
    let mut pieces = pin!(answer.pieces(SILENCE));
    while let Some(piece) = pieces.next().await {
        let mut out = io::stdout().lock();
        out.write_all(&piece.map_err(io::Error::other)?)?;
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_refs_are_read_as_git_writes_them() {
        let moved = read_moved(&b"aaa bbb refs/heads/\xff\naaa bbb refs/heads/main\nbad line\n"[..]);
        assert_eq!(moved.len(), 1);
        assert_eq!(moved[0]["ref"], "refs/heads/main");
    }

    proptest::proptest! {
        #[test]
        fn any_input_gives_a_bounded_number_of_refs(input in proptest::collection::vec(proptest::num::u8::ANY, 0..4000)) {
            let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
            proptest::prop_assert!(read_moved(&input[..]).len() <= lines.min(REFS));
        }
    }
}
