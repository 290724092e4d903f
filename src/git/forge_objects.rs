//! Large files that a forge keeps: asked for by the batch interface of Git LFS (git-lfs/docs/api/batch.md), and taken as if
//! they were pushed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use tokio_util::io::StreamReader;
use url::Url;

use super::pointers::each;
use super::submodules::Part;
use super::{GitError, Repositories};
use crate::exchange::Reply;
use crate::names::{LfsPointer, ServiceName, Transport};
use crate::problem::chain;

/// How many files are asked for at once.
const BATCH: usize = 100;
/// The longest answer to that, in bytes.
const ANSWER: usize = 4 * 1024 * 1024;
/// How long a forge may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a file's address may lead on to another.
const REDIRECTS: usize = 3;
/// How many fields a forge may ask for beside a file's address.
const FIELDS: usize = 20;
const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

#[derive(Serialize)]
struct Asked<'a> {
    operation: &'static str,
    transfers: [&'static str; 1],
    objects: Vec<AskedObject<'a>>,
}

#[derive(Serialize)]
struct AskedObject<'a> {
    oid: &'a str,
    size: u64,
}

#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    objects: Vec<AnsweredObject>,
}

#[derive(Deserialize)]
struct AnsweredObject {
    oid: String,
    #[serde(default)]
    actions: BTreeMap<String, Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, String>,
}

impl Action {
    fn headers(&self) -> Option<HeaderMap> {
        let pairs = self.header.iter().take(FIELDS).map(|(name, value)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        });
        pairs.collect()
    }
}

/// Where a repository's large files are asked for (git-lfs/docs/api/server-discovery.md).
fn batch_url(address: &str) -> String {
    let address = address.trim_end_matches('/');
    let end = if address.ends_with(".git") { "" } else { ".git" };
    format!("{address}{end}/info/lfs/objects/batch")
}

impl Repositories {
    /// Has the files that these pointers of a part stand for, as far as its forge gives them. What it does not give is said
    /// in the story, and is missing afterwards; the error is what this host can't take.
    pub(super) async fn fetch_objects(
        &self,
        service: &ServiceName,
        part: &Part,
        pointers: &[&LfsPointer],
    ) -> Result<(), GitError> {
        let end = Instant::now() + self.config.get().git.fetch_timeout;
        let mut wanted = Vec::new();
        for pointer in each(pointers) {
            if !self.has_object(service, &pointer.id).await {
                wanted.push(pointer);
            }
        }
        for some in wanted.chunks(BATCH) {
            let Some(answered) = self.ask_for(part, some, end).await else { return Ok(()) };
            for object in answered.objects {
                let Some(pointer) = some.iter().find(|pointer| pointer.id.as_str() == object.oid) else { continue };
                let Some(action) = object.actions.get("download") else { continue };
                if let Some(reply) = self.ask_action(action, end).await {
                    let pieces = Box::pin(reply.pieces(SILENCE).map_err(std::io::Error::other));
                    match timeout_at(end, self.add_object(service, pointer, StreamReader::new(pieces))).await {
                        Ok(Err(GitError::WrongObject)) | Err(_) => {
                            tracing::warn!("the forge sent the large file {} broken off, or another", pointer.id);
                        }
                        Ok(taken) => taken?,
                    }
                }
            }
        }
        Ok(())
    }

    async fn ask_for(&self, part: &Part, wanted: &[&LfsPointer], end: Instant) -> Option<Answered> {
        let from = part.from.as_ref().filter(|from| from.transport() == Transport::Http);
        let Some(from) = from else {
            tracing::warn!("large files of Git LFS are fetched over https alone, and the repository's address is none");
            return None;
        };
        let objects =
            wanted.iter().map(|pointer| AskedObject { oid: pointer.id.as_str(), size: pointer.size }).collect();
        let asked = Asked { operation: "download", transfers: ["basic"], objects };
        let mut request = Request::post(batch_url(from.address()))
            .header(header::ACCEPT, MEDIA_TYPE)
            .header(header::CONTENT_TYPE, MEDIA_TYPE);
        if let Some(login) = part.login() {
            request = request.header(header::AUTHORIZATION, login);
        }
        let request = request.body(serde_json::to_vec(&asked).ok()?.into()).ok()?;
        let reply = match self.ask_web(request, end).await {
            Ok(reply) if reply.status().is_success() => reply,
            Ok(reply) => {
                tracing::warn!("the forge does not give its large files: status {}", reply.status().as_u16());
                return None;
            }
            Err(error) => {
                tracing::warn!("the forge can't be asked for its large files: {}", chain(&error));
                return None;
            }
        };
        let body = reply.whole(ANSWER, end).await.ok()?;
        let answered = serde_json::from_slice(&body);
        answered.inspect_err(|_| tracing::warn!("the forge's answer on its large files can't be read")).ok()
    }

    /// The answer that a file begins with.
    async fn ask_action(&self, action: &Action, end: Instant) -> Option<Reply> {
        let mut url = Url::parse(&action.href).ok()?;
        let mut headers = action.headers()?;
        for _ in 0..=REDIRECTS {
            let mut request = Request::get(url.as_str()).body(Default::default()).ok()?;
            *request.headers_mut() = headers.clone();
            let reply = match self.ask_web(request, end).await {
                Ok(reply) => reply,
                Err(error) => {
                    tracing::warn!("a large file can't be fetched: {}", chain(&error));
                    return None;
                }
            };
            if !reply.status().is_redirection() {
                let good = reply.status().is_success();
                if !good {
                    tracing::warn!("a large file can't be fetched: status {}", reply.status().as_u16());
                }
                return good.then_some(reply);
            }
            let next = reply.headers().get(header::LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok())?;
            // What opens one place is shown at no other.
            if next.origin() != url.origin() {
                headers = HeaderMap::new();
            }
            url = next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forge_is_asked_below_its_repository() {
        for address in ["https://a.example/x", "https://a.example/x.git", "https://a.example/x.git/"] {
            assert_eq!(batch_url(address), "https://a.example/x.git/info/lfs/objects/batch");
        }
    }

    #[test]
    fn a_forges_fields_are_taken_as_fields_only() {
        let action = |name: &str, value: &str| Action {
            href: String::new(),
            header: [(name.to_owned(), value.to_owned())].into(),
        };
        assert_eq!(action("Authorization", "Basic x").headers().unwrap().len(), 1);
        assert!(action("A\r\nB", "x").headers().is_none() && action("A", "x\r\nB: c").headers().is_none());
    }
}
