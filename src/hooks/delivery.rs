//! A delivery as it came, what one tells, and what all forges' have in common.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::skip::skip_mark;
use crate::names::{CommitId, DeliveryId, Excerpt, NameError, SenderName};
use crate::words::words;

/// A key may lie in the body of an unsigned delivery up to this size.
pub const KEYED_BODY: usize = 64 * 1024;

/// A delivery's headers.
#[derive(Clone, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first header of this name (in lower case) that isn't empty: forges send an empty signature where no secret
    /// is set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, value)| known == name && !value.trim().is_empty());
        found.map(|(_, value)| value.trim())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(all: T) -> Self {
        Self(all.into_iter().map(|(name, value)| (name.as_ref().to_ascii_lowercase(), value.into())).collect())
    }
}

/// A delivery as it came.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// Its headers.
    pub headers: &'a Headers,
    /// Its address's query, still encoded.
    pub query: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

words! {
    /// Who sends, as the headers tell.
    Sender {
        /// GitHub.
        GitHub = "github",
        /// Gitea.
        Gitea = "gitea",
        /// Forgejo.
        Forgejo = "forgejo",
        /// Gogs.
        Gogs = "gogs",
        /// GitLab.
        GitLab = "gitlab",
        /// Bitbucket Cloud.
        BitbucketCloud = "bitbucket-cloud",
        /// Bitbucket Server and Data Center.
        BitbucketServer = "bitbucket-server",
        /// Azure DevOps.
        Azure = "azure-devops",
        /// Anybody else, with the key or a signature of the Standard Webhooks.
        Generic = "generic",
    }
}

impl Sender {
    /// Who sent this. The forges that grew out of one another send the headers of their ancestors, too, so the
    /// youngest is looked for first.
    #[must_use]
    pub fn of(headers: &Headers) -> Self {
        if headers.has("x-forgejo-event") {
            Self::Forgejo
        } else if headers.has("x-gitea-event") {
            Self::Gitea
        } else if headers.has("x-gogs-event") {
            Self::Gogs
        } else if headers.has("x-github-event") {
            Self::GitHub
        } else if headers.has("x-gitlab-event") {
            Self::GitLab
        } else if headers.has("x-event-key") {
            let cloud = headers.has("x-hook-uuid") || headers.has("x-request-uuid");
            if cloud { Self::BitbucketCloud } else { Self::BitbucketServer }
        } else if headers.has("x-vss-subscriptionid")
            || headers.get("user-agent").is_some_and(|agent| agent.starts_with("VSServices"))
        {
            Self::Azure
        } else {
            Self::Generic
        }
    }

    /// The same as whoever asks for what it sends.
    #[must_use]
    pub fn name(self) -> SenderName {
        SenderName::known(self.as_str())
    }
}

/// What a delivery tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryContent {
    /// The sender's own word for what happened.
    pub event: Excerpt,
    /// The sender's number of the delivery, the same again when it is sent again.
    pub id: Option<DeliveryId>,
    /// What happened.
    pub news: DeliveryEvent,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// Branches or tags have moved.
    Pushed(Vec<Change>),
    /// Somebody wants a build, whatever has moved.
    Wanted,
    /// The sender tries the hook.
    Ping,
    /// Something that is no push.
    Other,
}

/// A branch or tag that has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub reference: Reference,
    /// It is no more.
    pub gone: bool,
    /// The commit that it names now, where the sender tells one.
    pub commit: Option<CommitId>,
    /// The mark in that commit's message, where the sender tells that.
    pub skip: Option<&'static str>,
}

/// A commit, as far as most senders tell it in the same words.
#[derive(Deserialize)]
pub(super) struct SentCommit {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) message: String,
}

/// What has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A branch, by its short name.
    Branch(String),
    /// A tag, by its short name.
    Tag(String),
    /// Another ref, by its whole name.
    Other(String),
}

impl Reference {
    pub(super) fn parse(name: &str) -> Self {
        match (name.strip_prefix("refs/heads/"), name.strip_prefix("refs/tags/")) {
            (Some(branch), _) => Self::Branch(branch.to_owned()),
            (None, Some(tag)) => Self::Tag(tag.to_owned()),
            (None, None) => Self::Other(name.to_owned()),
        }
    }
}

impl Change {
    /// `commit` is what the ref names now; all zeros where it is gone.
    pub(super) fn new(name: &str, commit: &str) -> Self {
        let gone = commit.bytes().all(|byte| byte == b'0');
        let commit = commit.to_ascii_lowercase().parse().ok().filter(|_| !gone);
        Self { reference: Reference::parse(name), gone, commit, skip: None }
    }

    /// Looks for a mark in the message of the commit that the ref names now.
    pub(super) fn marked(mut self, commits: &[SentCommit]) -> Self {
        let own = |sent: &&SentCommit| self.commit.as_ref().is_some_and(|own| sent.id == own.as_str());
        self.skip = commits.iter().find(own).and_then(|sent| skip_mark(&sent.message));
        self
    }
}

/// Why a delivery can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HookError {
    /// The body isn't the JSON that this sender sends. The parser's own words could repeat a part of it.
    #[error("the payload is not one of {sender}'s: line {line}, column {column}")]
    Payload {
        /// The sender.
        sender: &'static str,
        /// Where the parser stopped.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// A form without the field that holds the payload.
    #[error("the form has no field `payload`")]
    NoPayload,
    /// A delivery's number that can't be remembered.
    #[error(transparent)]
    Id(#[from] NameError),
}

/// The first of these headers, as the delivery's number.
pub(super) fn id(headers: &Headers, names: &[&str]) -> Result<Option<DeliveryId>, HookError> {
    Ok(names.iter().find_map(|name| headers.get(name)).map(str::parse).transpose()?)
}

/// The value of a header that names an event.
pub(super) fn event(headers: &Headers, name: &str) -> Excerpt {
    Excerpt::of(headers.get(name).unwrap_or_default())
}

pub(super) fn is_form(headers: &Headers) -> bool {
    headers.get("content-type").is_some_and(|value| essence(value) == "application/x-www-form-urlencoded")
}

pub(super) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The payload: the body, or the field `payload` of a form.
pub(super) fn payload<T: DeserializeOwned>(sender: Sender, delivery: Delivery<'_>) -> Result<T, HookError> {
    if is_form(delivery.headers) {
        let field = form_urlencoded::parse(delivery.body).find(|(name, _)| name == "payload");
        let (_, json) = field.ok_or(HookError::NoPayload)?;
        return parse(sender, json.as_bytes());
    }
    parse(sender, delivery.body)
}

pub(super) fn parse<T: DeserializeOwned>(sender: Sender, json: &[u8]) -> Result<T, HookError> {
    serde_json::from_slice(json).map_err(|error| HookError::Payload {
        sender: sender.as_str(),
        line: error.line(),
        column: error.column(),
    })
}
