//! Smart HTTP (gitprotocol-http(5)) by `git http-backend`, streamed both ways: neither a push nor a clone is ever held
//! in memory.

use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::process::{Child, ChildStdout};

use super::command::{end_group, settings};
use super::outcome::{Outcome, Packets, PushId};
use super::pushes::Push;
use super::{GitError, Repositories, faults};
use crate::names::{BranchName, ServiceName};
use crate::permits::Share;

/// The longest head of an answer.
const HEAD: usize = 16 * 1024;

/// A request below `/git/NAME.git/`.
pub struct GitRequest {
    /// The service.
    pub service: ServiceName,
    /// Its branch, of which a push's hook tells however many others have moved.
    pub branch: BranchName,
    /// The path below the repository, such as `info/refs`.
    pub path: String,
    /// The query, without its `?`.
    pub query: String,
    /// Whether it is a POST.
    pub post: bool,
    /// The Content-Type header.
    pub content_type: Option<String>,
    /// The Content-Encoding header.
    pub content_encoding: Option<String>,
    /// The Content-Length header.
    pub content_length: Option<u64>,
    /// The Git-Protocol header.
    pub protocol: Option<String>,
    /// Who asks, for the hook's log.
    pub actor: String,
    /// The body.
    pub body: Box<dyn AsyncRead + Send + Unpin>,
}

/// Its answer.
pub struct GitResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers that git set, of those that it sets.
    pub headers: Vec<(&'static str, String)>,
    /// The body, which ends with the program; dropping it ends the program.
    pub body: Box<dyn AsyncRead + Send + Sync + Unpin>,
}

/// Whether git's smart HTTP has this request; everything else, and the whole of dumb HTTP, is refused.
fn is_smart(post: bool, path: &str, query: &str) -> bool {
    match (post, path) {
        (false, "info/refs") => matches!(query, "service=git-upload-pack" | "service=git-receive-pack"),
        (true, "git-upload-pack" | "git-receive-pack") => query.is_empty(),
        _ => false,
    }
}

impl Repositories {
    /// Answers a request of git's. The answer begins as soon as git begins it.
    pub async fn smart_http(&self, request: GitRequest) -> Result<GitResponse, GitError> {
        if !is_smart(request.post, &request.path, &request.query) || !self.exists(&request.service).await {
            return Err(GitError::NotSmart);
        }
        let mut most = self.config.get().git.max_push_mib;
        let asked = [request.path.as_str(), request.query.as_str()];
        let pushes = asked.iter().any(|asked| asked.ends_with("git-receive-pack"));
        let shares = if pushes { &self.pushes } else { &self.fetches };
        let share = shares.take(&request.actor).await.ok_or(GitError::Busy)?;
        let (mut push, outcome) = (None, self.outcomes.begin());
        if pushes {
            let folder = self.folder(&request.service);
            push = self.under_way.begin(folder.join("objects")).await;
            self.check_room(&folder, 0)?;
            most = most.min(self.left(&request.service).await?);
        }
        let mut command = self.git();
        command
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", self.config.get().paths.repositories())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", format!("/{}.git/{}", request.service, request.path))
            .env("QUERY_STRING", &request.query)
            .env("REQUEST_METHOD", if request.post { "POST" } else { "GET" })
            .env("REMOTE_USER", &request.actor)
            .env("PODKEEPER_SOCKET", &self.config.get().listen.local)
            .env("PODKEEPER_SERVICE", request.service.as_str())
            .env("PODKEEPER_BRANCH", request.branch.as_str())
            .env("PODKEEPER_PUSH", outcome.id.to_string())
            .env("PODKEEPER_MAX_REFS", self.config.get().git.max_refs.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for (key, value) in [
            ("CONTENT_TYPE", request.content_type),
            ("HTTP_CONTENT_ENCODING", request.content_encoding),
            ("CONTENT_LENGTH", request.content_length.map(|length| length.to_string())),
            ("GIT_PROTOCOL", request.protocol),
        ] {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        let mut config = vec![
            ("core.hooksPath", self.config.get().paths.helpers.join("git-hooks").display().to_string()),
            ("http.receivepack", "true".into()),
            ("http.uploadpack", "true".into()),
            ("receive.maxInputSize", most.saturating_mul(1024 * 1024).to_string()),
            // The service's branch may be pushed whatever it holds: a new history is a new release.
            ("receive.denyCurrentBranch", "ignore".into()),
            ("receive.denyDeleteCurrent", "refuse".into()),
            // A clone without its history may push, too: this repository then has what that one has.
            ("receive.shallowUpdate", "true".into()),
            // Those that we don't know, too, are taken.
            ("receive.advertisePushOptions", "true".into()),
            // Objects stay packed as they came, however few; at each fiftieth pack they become one.
            ("receive.unpackLimit", "1".into()),
            ("receive.autogc", "true".into()),
            ("uploadpack.allowFilter", "true".into()),
            ("safe.directory", "*".into()),
        ];
        config.extend(faults::of_pushes());
        settings(&mut command, &config);
        let mut child = command.spawn().map_err(GitError::Run)?;
        let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Answer);
        };
        let group = child.id();
        let mut body = request.body;
        let feed = tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match body.read(&mut buffer).await {
                    Ok(0) => break,
                    // Git has read enough, as of a push that is too large.
                    Ok(n) if input.write_all(&buffer[..n]).await.is_err() => break,
                    Ok(_) => {}
                    // The client went away in the middle: git must not take what came for the whole.
                    Err(_) => break end_group(group),
                }
            }
        });
        // Before the head, too, a client that goes away ends the program.
        let running = Running { child: Some(child), feed, share: Some(share), push };
        let ((status, headers), mut rest) = read_head(&mut output).await?;
        // The answer to the push itself, and not the refs before it, is its end.
        let mut packets = (pushes && request.post).then(|| (Packets::default(), outcome));
        if let Some((packets, outcome)) = &mut packets {
            rest = packets.pass(&rest, outcome);
        }
        Ok(GitResponse { status, headers, body: Box::new(Output { rest, at: 0, output, packets, _running: running }) })
    }

    /// Says of a push that waits for its deployment whether it is to fail. It is over where nobody knows it.
    pub fn end_push(&self, push: PushId, fails: bool) {
        self.outcomes.set(push, fails);
    }
}

/// The program, ended with all its children when the answer is dropped or the client went away.
struct Running {
    child: Option<Child>,
    feed: tokio::task::JoinHandle<()>,
    share: Option<Share>,
    push: Option<Push>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.feed.abort();
        let Some(mut child) = self.child.take() else { return };
        // As long as nobody has waited for the program, its number is nobody else's.
        end_group(child.id());
        // Without a runtime the agent has ended.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let held = (self.share.take(), self.push.take());
        runtime.spawn(async move {
            let _ = child.wait().await;
            tokio::task::spawn_blocking(move || drop(held));
        });
    }
}

/// The answer's body: what came with its head, then the program's output.
struct Output {
    rest: Vec<u8>,
    at: usize,
    output: ChildStdout,
    packets: Option<(Packets, Outcome)>,
    _running: Running,
}

/// How much of a push's answer is looked at at once.
const PIECE: usize = 4 * 1024;

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Self { rest, at, output, packets, .. } = &mut *self;
        loop {
            if *at < rest.len() {
                let n = buffer.remaining().min(rest.len() - *at);
                buffer.put_slice(&rest[*at..*at + n]);
                *at += n;
                return Poll::Ready(Ok(()));
            }
            let Some((packets, outcome)) = packets else { return Pin::new(output).poll_read(context, buffer) };
            let mut bytes = [0; PIECE];
            let mut piece = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *output).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            (*rest, *at) = (packets.pass(piece.filled(), outcome), 0);
        }
    }
}

/// What an answer of git's says beside its status (http-backend.c).
const HEADERS: [&str; 4] = ["content-type", "cache-control", "expires", "pragma"];

/// The status, and the headers.
type Head = (u16, Vec<(&'static str, String)>);

/// Reads a CGI head (RFC 3875, section 6): lines up to an empty one. What was read beyond it belongs to the body.
async fn read_head(output: &mut ChildStdout) -> Result<(Head, Vec<u8>), GitError> {
    let mut bytes = Vec::with_capacity(4096);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD || output.read_buf(&mut bytes).await.map_err(GitError::Run)? == 0 {
            return Err(GitError::Answer);
        }
    };
    let rest = bytes.split_off(end + 4);
    Ok((head(&bytes[..end])?, rest))
}

fn head(bytes: &[u8]) -> Result<Head, GitError> {
    let mut status = 200;
    let mut headers = Vec::new();
    for line in String::from_utf8_lossy(bytes).split("\r\n") {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            status = value.split(' ').next().and_then(|code| code.parse().ok()).ok_or(GitError::Answer)?;
        } else if let Some(known) = HEADERS.into_iter().find(|known| name.eq_ignore_ascii_case(known)) {
            headers.push((known, value.to_owned()));
        }
    }
    Ok((status, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_head_holds_what_git_sets_and_nothing_else() {
        let text =
            "Status: 403 Forbidden\r\nContent-Type: text/plain\r\nSet-Cookie: podkeeper=a\r\nX-\u{e9}: b\r\nno header";
        let (status, headers) = head(text.as_bytes()).unwrap();
        assert_eq!((status, headers), (403, vec![("content-type", "text/plain".to_owned())]));
        assert!(head(b"Status: x").is_err());
    }

    #[test]
    fn only_smart_requests() {
        assert!(is_smart(false, "info/refs", "service=git-upload-pack"));
        assert!(is_smart(true, "git-receive-pack", ""));
        for (post, path, query) in [
            (false, "info/refs", ""),
            (false, "HEAD", ""),
            (false, "objects/info/packs", ""),
            (true, "info/refs", "service=git-upload-pack"),
            (true, "git-upload-archive", ""),
            (false, "info/refs", "service=git-upload-archive"),
            (false, "config", ""),
        ] {
            assert!(!is_smart(post, path, query), "{path}?{query}");
        }
    }
}
