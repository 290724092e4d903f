//! Why a forge gives no repository over http, by one question of our own: git tells it in words only, and goes nowhere that
//! nobody looked at.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use super::{GitError, Repositories};
use crate::names::RepoUri;
use crate::text::Plain;

/// How long the forge may take.
const LIMIT: Duration = Duration::from_secs(30);
/// What git asks first, behind the repository's address (gitprotocol-http(5)).
const ASKED: &str = "/info/refs";
const QUERY: &str = "service=git-upload-pack";
/// What a repository is answered as.
const REPOSITORY: &str = "application/x-git-upload-pack-advertisement";

/// What an answer says of the repository.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// It is there.
    There,
    /// It is at another address.
    Moved(RepoUri),
    /// Somewhere else is something else.
    Elsewhere(Plain),
    /// Nobody may read it, or not this one.
    NotAllowed,
    /// There is none.
    Nothing,
    /// Something that says nothing of it.
    Other,
}

fn said(asked: &Url, status: StatusCode, headers: &HeaderMap) -> Said {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if status.is_redirection() {
        let Some(to) = header(header::LOCATION).and_then(|to| asked.join(to).ok()) else { return Said::Other };
        let elsewhere = || {
            let mut to = to.clone();
            let _ = (to.set_username(""), to.set_password(None));
            to.set_query(None);
            Said::Elsewhere(to.as_str().chars().take(200).collect::<String>().into())
        };
        // What was encrypted stays so.
        let is_safe = to.scheme() == "https" || asked.scheme() == "http";
        let Some(path) = to.path().strip_suffix(ASKED).filter(|_| is_safe) else { return elsewhere() };
        let mut found = to.clone();
        found.set_path(path);
        found.set_query(None);
        found.set_fragment(None);
        let _ = (found.set_username(""), found.set_password(None));
        return match RepoUri::parse(found.as_str()) {
            Ok((uri, None)) => Said::Moved(uri),
            _ => elsewhere(),
        };
    }
    let kind = header(header::CONTENT_TYPE).unwrap_or_default();
    match status.as_u16() {
        200 if kind.starts_with(REPOSITORY) => Said::There,
        200 if kind.starts_with("text/html") => Said::Nothing,
        404 | 410 => Said::Nothing,
        401 | 403 => Said::NotAllowed,
        _ => Said::Other,
    }
}

impl Repositories {
    /// The address that the forge names in the place of `uri`, of which git said `error`; else the error is why there is no
    /// repository, as far as the forge tells.
    pub(super) async fn ask_why(
        &self,
        uri: &RepoUri,
        secret: Option<&SecretString>,
        error: GitError,
    ) -> Result<RepoUri, GitError> {
        let Ok(mut url) = Url::parse(&format!("{}{ASKED}", uri.address().trim_end_matches('/'))) else {
            return Err(error);
        };
        url.set_query(Some(QUERY));
        let mut request = Request::get(url.as_str());
        if let Some(login) = secret.and_then(|secret| uri.basic(secret)) {
            request = request.header(header::AUTHORIZATION, login.expose_secret());
        }
        let Ok(request) = request.body(Default::default()) else { return Err(error) };
        let Ok(answer) = self.ask_web(request, Instant::now() + LIMIT).await else { return Err(error) };
        Err(match said(&url, answer.status(), answer.headers()) {
            Said::Moved(to) => match uri.follows(&to) {
                true => return Ok(to),
                false => error,
            },
            Said::Elsewhere(to) => GitError::Elsewhere { from: uri.address().to_owned(), to },
            Said::NotAllowed => GitError::NotAllowed(uri.address().to_owned()),
            Said::Nothing => GitError::NoRepository(uri.address().to_owned()),
            Said::There | Said::Other => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forges_answer_says_where_the_repository_is() {
        let asked = |scheme: &str| -> Url { format!("{scheme}://forge.example/a/b{ASKED}?{QUERY}").parse().unwrap() };
        let answer = |scheme: &str, status: u16, name: &'static str, value: &str| {
            let headers = [(header::HeaderName::from_static(name), value.parse().unwrap())].into_iter().collect();
            said(&asked(scheme), StatusCode::from_u16(status).unwrap(), &headers)
        };
        let moved = |text: &str| Said::Moved(RepoUri::parse(text).unwrap().0);
        for (to, wanted) in [
            ("https://forge.example/a/b.git/info/refs?service=git-upload-pack", moved("https://forge.example/a/b.git")),
            ("/a/c.git/info/refs", moved("https://forge.example/a/c.git")),
            ("https://u:p@other.example/c/info/refs", moved("https://other.example/c")),
            ("https://forge.example/login?next=x", Said::Elsewhere("https://forge.example/login".into())),
            (
                "http://forge.example/a/b.git/info/refs",
                Said::Elsewhere("http://forge.example/a/b.git/info/refs".into()),
            ),
            ("file:///etc/info/refs", Said::Elsewhere("file:///etc/info/refs".into())),
            ("https://forge.example/info/refs", Said::Elsewhere("https://forge.example/info/refs".into())),
        ] {
            assert_eq!(answer("https", 301, "location", to), wanted, "{to}");
        }
        assert_eq!(
            answer("http", 308, "location", "https://forge.example/a/b/info/refs"),
            moved("https://forge.example/a/b")
        );
        for (status, kind, wanted) in [
            (200, REPOSITORY, Said::There),
            (200, "text/html; charset=utf-8", Said::Nothing),
            (200, "text/plain", Said::Other),
            (404, "text/html", Said::Nothing),
            (401, "text/plain", Said::NotAllowed),
            (500, "text/html", Said::Other),
        ] {
            assert_eq!(answer("https", status, "content-type", kind), wanted, "{status} {kind}");
        }
    }
}
