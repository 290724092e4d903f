//! Asks the agent: over its unix socket, or from another machine with a token.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{Method, Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use url::{Host, Url};

use super::show;
use crate::exchange::{self, Reply};
use crate::problem::Code;
use crate::text::Plain;

/// How long the agent may take.
const LIMIT: Duration = Duration::from_secs(30);
/// A stream says every fifteen seconds that it lives, so silence for longer means that the agent is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest answer.
const ANSWER: usize = 16 * 1024 * 1024;

/// Why the agent gave no good answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens, or we may not.
    #[error("can't reach the agent at {place}: {why}\nNext: {next}")]
    Connect {
        /// Where it was looked for.
        place: String,
        /// What to do.
        next: &'static str,
        /// What the system said.
        why: std::io::Error,
    },
    /// The address can't be one of an agent.
    #[error("`{0}` is no address of an agent\nNext: write it like https://host or http://localhost:7070")]
    Address(String),
    /// The token would be readable on its way.
    #[error(
        "`{0}` is not encrypted, and the token would be read on its way\n\
         Next: use https, or a tunnel: ssh -L 7070:localhost:7070 HOST"
    )]
    Plain(String),
    /// No token for another machine.
    #[error(
        "a token is needed for `{0}`\n\
         Next: set PODKEEPER_TOKEN, or give its file with --token-file; `podkeeper token create --name NAME` on the host makes one"
    )]
    NoToken(String),
    /// The token's file.
    #[error("can't read the token in `{path}`: {why}\nNext: give the file that holds it with --token-file")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The connection broke.
    #[error("the agent gave no answer\nNext: see `systemctl status podkeeper` on the host")]
    Broken,
    /// What it said is not what an agent of this version says.
    #[error(
        "the agent's answer can't be read: it is of another version, or something else answered in its place\n\
         Next: compare `podkeeper --version` on this machine and on the agent's, and upgrade the older one"
    )]
    Unreadable,
    /// What said no is not the agent.
    #[error(
        "not the agent, but something before it answered, with HTTP status {0}\n\
         Next: `systemctl status podkeeper` on its host tells whether it runs; see also what the proxy before it logs"
    )]
    Foreign(u16),
    /// The agent said no.
    #[error("{detail}{}", hint.as_ref().map(|hint| format!("\nNext: {hint}")).unwrap_or_default())]
    Refused {
        /// The problem's code; none is one that this version doesn't know.
        code: Option<Code>,
        /// What it said.
        detail: Plain,
        /// What to do next.
        hint: Option<Plain>,
    },
}

impl ClientError {
    /// Whether the agent is only away, as in a restart.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken => true,
            // A proxy says so of an agent that is away.
            Self::Foreign(status) => (502..=504).contains(status),
            Self::Refused { code, .. } => *code == Some(Code::Restarting),
            _ => false,
        }
    }
}

/// A connection, whatever it goes over.
pub trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// Where the agent is.
pub enum Agent {
    /// On this host.
    Local(PathBuf),
    /// On another.
    Remote {
        /// Its address.
        url: Url,
        /// What opens it.
        token: SecretString,
    },
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(socket) => f.debug_tuple("Local").field(socket).finish(),
            Self::Remote { url, .. } => f.debug_struct("Remote").field("url", &url.as_str()).finish_non_exhaustive(),
        }
    }
}

/// What the agent says no with: a problem as REST or as Socket.IO writes one.
#[derive(Debug, Clone, Deserialize)]
pub struct Refusal {
    #[serde(alias = "type")]
    problem: String,
    detail: Plain,
    hint: Option<Plain>,
}

impl Refusal {
    /// The problem's code, where this version knows it.
    pub fn code(&self) -> Option<Code> {
        Code::from_word(self.problem.rsplit(':').next().unwrap_or_default())
    }
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code(), detail: refusal.detail, hint: refusal.hint }
    }
}

/// A good answer, to its end.
#[derive(Debug)]
pub struct Answer(Bytes);

impl Answer {
    /// What it says.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.0).map_err(|_| ClientError::Unreadable)
    }

    /// Prints it as it came.
    pub fn print(&self) -> std::io::Result<()> {
        let mut out = show::out();
        out.write_all(&self.0)?;
        writeln!(out)
    }
}

/// An answer to its end.
async fn whole(answer: Reply) -> Result<Answer, ClientError> {
    let body = answer.whole(ANSWER, Instant::now() + LIMIT).await;
    Ok(Answer(body.map_err(|_| ClientError::Broken)?))
}

/// Why an answer is no good one.
fn refused(status: StatusCode, answer: &Answer) -> ClientError {
    answer.read::<Refusal>().map_or_else(|_| ClientError::Foreign(status.as_u16()), ClientError::from)
}

impl Agent {
    /// The agent at `host`, or without one the agent of this host.
    pub fn find(socket: &Path, host: Option<&str>, token_file: Option<&Path>) -> Result<Self, ClientError> {
        let Some(host) = host else { return Ok(Self::Local(socket.to_owned())) };
        let url = Url::parse(host).map_err(|_| ClientError::Address(host.into()))?;
        let near = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(ClientError::Address(host.into())),
        };
        if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
            return Err(ClientError::Address(host.into()));
        }
        match url.scheme() {
            "https" => {}
            "http" if near => {}
            "http" => return Err(ClientError::Plain(host.into())),
            _ => return Err(ClientError::Address(host.into())),
        }
        let token = match token_file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|why| ClientError::TokenFile { path: path.to_owned(), why })?
            }
            None => std::env::var("PODKEEPER_TOKEN").map_err(|_| ClientError::NoToken(host.into()))?,
        };
        Ok(Self::Remote { url, token: token.trim().to_owned().into() })
    }

    /// What goes into `Host`.
    pub fn host(&self) -> String {
        match self {
            Self::Local(_) => "localhost".into(),
            Self::Remote { url, .. } => {
                let host = url.host_str().unwrap_or_default();
                url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
            }
        }
    }

    /// What goes into `Authorization`.
    pub fn authorization(&self) -> Option<String> {
        match self {
            Self::Local(_) => None,
            Self::Remote { token, .. } => Some(format!("Bearer {}", token.expose_secret())),
        }
    }

    /// A connection to it.
    pub async fn connect(&self) -> Result<Box<dyn Line>, ClientError> {
        match self {
            Self::Local(socket) => {
                let failed = |why| ClientError::Connect {
                    place: socket.display().to_string(),
                    next: "on the host run this as root, and see `systemctl status podkeeper`; elsewhere give --host",
                    why,
                };
                Ok(Box::new(UnixStream::connect(socket).await.map_err(failed)?))
            }
            Self::Remote { url, .. } => {
                let failed = |why| ClientError::Connect {
                    place: url.to_string(),
                    next: "see whether the address is right, and whether `curl` of its /healthz answers",
                    why,
                };
                let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                let port = url.port_or_known_default().unwrap_or(443);
                let connecting = async {
                    let stream = TcpStream::connect((host.as_str(), port)).await?;
                    // A key is sent at once.
                    stream.set_nodelay(true)?;
                    let line: Box<dyn Line> = match url.scheme() {
                        "https" => Box::new(crate::tls::wrap(stream, &host).await?),
                        _ => Box::new(stream),
                    };
                    Ok(line)
                };
                tokio::time::timeout(LIMIT, connecting)
                    .await
                    .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                    .map_err(failed)
            }
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        last: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Reply, ClientError> {
        let line = self.connect().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.host())
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = self.authorization() {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request =
            request.body(body.map_or_else(String::new, Value::to_string).into()).map_err(|_| ClientError::Broken)?;
        let answer = exchange::ask(line, request, Instant::now() + LIMIT).await.map_err(|_| ClientError::Broken)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        Err(refused(status, &whole(answer).await?))
    }

    /// One call.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, ClientError> {
        let answer = self.ask(method, path, "application/json", None, body).await?;
        whole(answer).await
    }

    /// What there is at `path`.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.call(Method::GET, path, None).await
    }

    /// Server-sent events, those behind the one that came last.
    pub async fn events(
        &self,
        path: &str,
        last: Option<&str>,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + use<>, ClientError> {
        const EVENTS: &str = "text/event-stream";
        let answer = self.ask(Method::GET, path, EVENTS, last, None).await?;
        if answer.headers().get(header::CONTENT_TYPE).is_none_or(|kind| !kind.as_bytes().starts_with(EVENTS.as_bytes()))
        {
            return Err(ClientError::Unreadable);
        }
        Ok(answer.pieces(SILENCE).map(|piece| piece.map_err(|_| ClientError::Broken)))
    }
}

/// Runs `work` to its end.
pub fn block_on<T>(
    work: impl Future<Output = Result<T, Box<dyn std::error::Error>>>,
) -> Result<T, Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// What means nothing in a part of an address stays as it is (RFC 3986, `pchar`), so that a name stands in the audit log
/// as it is written.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.').remove(b':');

/// `text` as one part of a path, or one value of a query.
pub fn segment(text: &str) -> String {
    // Dots alone mean this folder, or the one above.
    if text.bytes().all(|byte| byte == b'.') {
        return text.replace('.', "%2E");
    }
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_said_no_is_told_apart() {
        let said = |status: u16, body: &'static str| {
            refused(StatusCode::from_u16(status).unwrap(), &Answer(Bytes::from_static(body.as_bytes())))
        };
        let problem = r#"{"type":"urn:podkeeper:problem:not-ready","title":"Not ready","status":503,"detail":"not ready: no answer from podman","instance":"1","ready":false,"parts":{}}"#;
        let agents = said(503, problem);
        assert!(matches!(&agents, ClientError::Refused { code: Some(Code::NotReady), .. }) && !agents.is_away());
        assert_eq!(agents.to_string(), "not ready: no answer from podman");
        let newer = said(409, r#"{"type":"urn:podkeeper:problem:of-tomorrow","detail":"no"}"#);
        assert!(matches!(newer, ClientError::Refused { code: None, .. }));
        for (status, away) in [(502, true), (503, true), (504, true), (403, false), (500, false)] {
            let proxys = said(status, "<html>Bad Gateway</html>");
            assert!(matches!(proxys, ClientError::Foreign(_)) && proxys.is_away() == away, "{status}");
            assert!(proxys.to_string().contains("not the agent"), "{proxys}");
        }
        let odd = Answer(Bytes::from_static(b"{\"name\":7}")).read::<crate::api::services::Service>().unwrap_err();
        assert!(!odd.to_string().contains("expected") && odd.to_string().contains("Next: "), "{odd}");
    }

    #[test]
    fn a_part_of_a_path_is_one_part() {
        let parts = ["my-app", "..", "a/b?c", "2026-01-02T00:00:00+01:00", "example.org:5000"].map(segment);
        assert_eq!(parts, ["my-app", "%2E%2E", "a%2Fb%3Fc", "2026-01-02T00:00:00%2B01:00", "example.org:5000"]);
    }

    #[test]
    fn a_token_goes_nowhere_in_the_clear() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pk_secret\n").unwrap();
        let find = |host: &str| Agent::find(Path::new("/x"), Some(host), Some(file.path()));
        for good in ["https://host", "http://localhost:7070", "http://127.0.0.1:7070", "http://[::1]:1"] {
            let agent = find(good).unwrap();
            assert_eq!(agent.authorization().as_deref(), Some("Bearer pk_secret"));
            assert!(!format!("{agent:?}").contains("secret"));
        }
        assert!(matches!(find("http://example.com"), Err(ClientError::Plain(_))));
        assert!(matches!(find("http://localhost.example.com"), Err(ClientError::Plain(_))));
        for bad in ["host", "ftp://host", "unix:///x", "https://host/path", "https://me@host", ""] {
            assert!(matches!(find(bad), Err(ClientError::Address(_))), "{bad}");
        }
        assert!(matches!(Agent::find(Path::new("/x"), None, None), Ok(Agent::Local(_))));
    }
}
