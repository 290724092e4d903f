//! The closed list of problem codes, and what a client is told when something can't be done (RFC 9457).
//!
//! A module's error enum turns itself into a [`Problem`]; only `http::respond` knows the HTTP status of a code.

use std::error::Error;
use std::fmt;

use crate::text::Plain;

/// What went wrong, in a word that clients can match on. The list is closed: when in doubt it is `internal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request isn't well-formed.
    BadRequest,
    /// A name breaks the rules of names.
    InvalidName,
    /// A name that the agent or the host keeps for itself.
    NameReserved,
    /// A service of this name exists.
    NameTaken,
    /// No such template.
    UnknownTemplate,
    /// An external repository's address that is not allowed.
    InvalidUri,
    /// Environment variables that can't be set.
    InvalidEnv,
    /// A setting that can't be.
    InvalidSetting,
    /// A passkey that can't be registered.
    InvalidPasskey,
    /// Passkeys or cookies don't work at the address by which the browser came.
    UnfitAddress,
    /// Nobody is signed in.
    NotSignedIn,
    /// Signed in, but not allowed.
    Forbidden,
    /// An unsafe request from another site.
    WrongOrigin,
    /// No such thing.
    NotFound,
    /// The path doesn't take this method.
    MethodNotAllowed,
    /// The thing's state doesn't allow it.
    Conflict,
    /// The body is larger than this path takes.
    PayloadTooLarge,
    /// The body did not come in its time.
    RequestTimeout,
    /// A body's type that this path doesn't take.
    UnsupportedMediaType,
    /// A password that is too short or too easily guessed.
    WeakPassword,
    /// Too many requests.
    RateLimited,
    /// Podman doesn't answer.
    PodmanUnavailable,
    /// The service user's systemd manager doesn't answer.
    SystemdUnavailable,
    /// The journal can't be read.
    JournalUnavailable,
    /// The agent's store can't be written or read.
    StoreUnavailable,
    /// No space is left on the host's disk.
    DiskFull,
    /// No free port, id range or slot is left.
    Exhausted,
    /// The agent holds as much as it takes at once; the same call goes through in a moment.
    Busy,
    /// The agent is stopping; the same call goes through in a moment.
    Restarting,
    /// The source could not be fetched.
    FetchFailed,
    /// A registry doesn't take a login, or doesn't answer.
    LoginFailed,
    /// The source has no commit to build.
    NoCommits,
    /// The source has no Containerfile, and no recipe fits its files.
    NoRecipe,
    /// The build ended with an error.
    BuildFailed,
    /// The build took longer than it may.
    BuildTimeout,
    /// The new release's unit did not start.
    StartFailed,
    /// The new release started and did not become healthy in its time.
    Unhealthy,
    /// Somebody cancelled it.
    Cancelled,
    /// A newer deployment took its place.
    Superseded,
    /// The host or the agent stopped in the middle, and it can't go on.
    Interrupted,
    /// The container has no shell.
    NoShell,
    /// A release or an image that is needed is gone.
    ReleaseGone,
    /// A defect of ours.
    Internal,
}

impl Code {
    /// Every code, for the documentation and for tests that walk the list.
    pub const ALL: [Self; 43] = [
        Self::BadRequest,
        Self::InvalidName,
        Self::NameReserved,
        Self::NameTaken,
        Self::UnknownTemplate,
        Self::InvalidUri,
        Self::InvalidEnv,
        Self::InvalidSetting,
        Self::InvalidPasskey,
        Self::UnfitAddress,
        Self::NotSignedIn,
        Self::Forbidden,
        Self::WrongOrigin,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::RequestTimeout,
        Self::UnsupportedMediaType,
        Self::WeakPassword,
        Self::RateLimited,
        Self::PodmanUnavailable,
        Self::SystemdUnavailable,
        Self::JournalUnavailable,
        Self::StoreUnavailable,
        Self::DiskFull,
        Self::Exhausted,
        Self::Busy,
        Self::Restarting,
        Self::FetchFailed,
        Self::LoginFailed,
        Self::NoCommits,
        Self::NoRecipe,
        Self::BuildFailed,
        Self::BuildTimeout,
        Self::StartFailed,
        Self::Unhealthy,
        Self::Cancelled,
        Self::Superseded,
        Self::Interrupted,
        Self::ReleaseGone,
        Self::NoShell,
        Self::Internal,
    ];

    /// The word, as in `urn:podkeeper:problem:<word>`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::InvalidName => "invalid-name",
            Self::NameReserved => "name-reserved",
            Self::NameTaken => "name-taken",
            Self::UnknownTemplate => "unknown-template",
            Self::InvalidUri => "invalid-uri",
            Self::InvalidEnv => "invalid-env",
            Self::InvalidSetting => "invalid-setting",
            Self::InvalidPasskey => "invalid-passkey",
            Self::UnfitAddress => "unfit-address",
            Self::NotSignedIn => "not-signed-in",
            Self::Forbidden => "forbidden",
            Self::WrongOrigin => "wrong-origin",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Conflict => "conflict",
            Self::PayloadTooLarge => "payload-too-large",
            Self::RequestTimeout => "request-timeout",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::WeakPassword => "weak-password",
            Self::RateLimited => "rate-limited",
            Self::PodmanUnavailable => "podman-unavailable",
            Self::SystemdUnavailable => "systemd-unavailable",
            Self::JournalUnavailable => "journal-unavailable",
            Self::StoreUnavailable => "store-unavailable",
            Self::DiskFull => "disk-full",
            Self::Exhausted => "exhausted",
            Self::Busy => "busy",
            Self::Restarting => "restarting",
            Self::FetchFailed => "fetch-failed",
            Self::LoginFailed => "login-failed",
            Self::NoCommits => "no-commits",
            Self::NoRecipe => "no-recipe",
            Self::BuildFailed => "build-failed",
            Self::BuildTimeout => "build-timeout",
            Self::StartFailed => "start-failed",
            Self::Unhealthy => "unhealthy",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
            Self::Interrupted => "interrupted",
            Self::ReleaseGone => "release-gone",
            Self::NoShell => "no-shell",
            Self::Internal => "internal",
        }
    }

    /// Whether it says that somebody may not, rather than that something can't be.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::NotSignedIn | Self::Forbidden | Self::WrongOrigin | Self::RateLimited)
    }

    /// The code of a word, where a stored problem is read back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The code to match on.
    pub code: Code,
    /// What happened, in a sentence for a person. It names nothing of the host's inside.
    pub detail: Plain,
    /// What to do next, where there is something to do.
    pub hint: Option<Plain>,
    /// When to try again, in seconds, where that is known; else the code tells.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(code: Code, detail: impl Into<Plain>) -> Self {
        Self { code, detail: detail.into(), hint: None, retry_after: None }
    }

    /// Somebody cancelled it.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(Code::Cancelled, "it was cancelled")
    }

    /// Nothing more can be written.
    #[must_use]
    pub fn disk_full() -> Self {
        Self::new(Code::DiskFull, "no space is left on the host's disk").with_hint("free some space, then try again")
    }

    /// The same problem, with what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Plain>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl Error for Problem {}

impl From<std::convert::Infallible> for Problem {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// An error and all its sources on one line, for the log: it is written once, where the error is handled. Whoever's words
/// they are, none commands the terminal of who reads the log.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    Plain::from(words(error)).into()
}

/// An error and all its sources, in the lines that they have.
#[must_use]
pub fn words(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        source = inner.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own() {
        for code in Code::ALL {
            assert_eq!(Code::from_word(code.as_str()), Some(code));
        }
    }

    #[test]
    fn what_others_said_commands_nobodys_terminal() {
        let said = "denied\x1b]0;owned\x07\n\u{9b}2J\u{202e}!";
        let problem = Problem::new(Code::LoginFailed, said).with_hint(format!("ask {said}"));
        assert_eq!(problem.detail, "denied 2J!");
        assert_eq!(problem.hint.as_deref(), Some("ask denied 2J!"));
        assert_eq!(chain(&std::io::Error::other(said)), "denied 2J!");
    }
}
