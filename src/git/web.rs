//! The agent's own questions to forges over http and https: only to addresses where git may go, too.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{GitError, Repositories};
use crate::exchange::{self, ExchangeError, Reply};
use crate::tls;

/// Why a forge gave no answer.
#[derive(Debug, Error)]
pub(super) enum WebError {
    /// Its address can't be, or may not be asked.
    #[error("the address may not be asked")]
    Address(#[source] Box<GitError>),
    /// It is no address of the web.
    #[error("the address is none of the web")]
    Url,
    /// Nobody is there.
    #[error("nobody answers at the address")]
    Connect(#[source] std::io::Error),
    /// It answered nothing that can be read.
    #[error("the answer can't be read")]
    Answer(#[source] ExchangeError),
    /// It took too long.
    #[error("no answer came in time")]
    Late,
}

impl Repositories {
    /// The head of the answer to `request`, whose address is whole. No redirect is followed.
    pub(super) async fn ask_web(&self, request: Request<Bytes>, end: Instant) -> Result<Reply, WebError> {
        let (mut head, body) = request.into_parts();
        let url = Url::parse(&head.uri.to_string()).map_err(|_| WebError::Url)?;
        let is_encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(WebError::Url),
        };
        let host = url.host_str().ok_or(WebError::Url)?;
        let bare = host.trim_matches(['[', ']']);
        let port = url.port_or_known_default().ok_or(WebError::Url)?;
        let address = self.address(bare, port).await.map_err(|error| WebError::Address(Box::new(error)))?;
        let named = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        head.headers.insert(header::HOST, named.parse().map_err(|_| WebError::Url)?);
        head.headers.insert(header::USER_AGENT, header::HeaderValue::from_static("git/podkeeper"));
        head.uri = url[url::Position::BeforePath..url::Position::AfterQuery].parse().map_err(|_| WebError::Url)?;
        let request = Request::from_parts(head, Full::new(body));
        let connecting = async {
            let stream = TcpStream::connect((address, port)).await?;
            Ok(if is_encrypted { (None, Some(tls::wrap(stream, bare).await?)) } else { (Some(stream), None) })
        };
        let connected = timeout_at(end, connecting).await.map_err(|_| WebError::Late)?.map_err(WebError::Connect)?;
        let asked = match connected {
            (_, Some(encrypted)) => exchange::ask(encrypted, request, end).await,
            (Some(plain), None) => exchange::ask(plain, request, end).await,
            (None, None) => return Err(WebError::Url),
        };
        asked.map_err(WebError::Answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, LiveConfig};
    use crate::names::RepoUri;

    #[tokio::test]
    async fn nobody_is_asked_at_an_address_that_is_not_the_internets() {
        let repositories = Repositories::new(LiveConfig::new(Config::default()));
        let service = "blog".parse().unwrap();
        for place in ["127.0.0.1:1", "localhost", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]:80", "2130706433"] {
            for scheme in ["http", "https"] {
                let address = format!("{scheme}://{place}/x");
                let request = Request::get(&address).body(Bytes::new()).unwrap();
                let asked = repositories.ask_web(request, Instant::now() + Duration::from_secs(60)).await;
                assert!(matches!(asked, Err(WebError::Address(_))), "{address}");
                let (uri, _) = RepoUri::parse(&address).unwrap();
                let remote = repositories.remote(&service, &uri, None).await;
                assert!(matches!(remote, Err(GitError::PrivateAddress { .. })), "{address}: {remote:?}");
            }
        }
        let request = Request::get("ftp://example.org/x").body(Bytes::new()).unwrap();
        let asked = repositories.ask_web(request, Instant::now()).await;
        assert!(matches!(asked, Err(WebError::Url)));
    }
}
