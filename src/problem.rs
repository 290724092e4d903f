//! The closed list of problem codes, and what a client is told when something can't be done (RFC 9457).
//!
//! A module's error enum turns itself into a [`Problem`]; only `http::respond` knows the HTTP status of a code.

use std::error::Error;
use std::fmt;

use crate::text::Plain;
use crate::words::words;

/// Names that have no capital, wherever they stand.
const SMALL: [&str; 4] = ["systemd ", "journald ", "pip ", "npm "];

words! {
    /// What went wrong, in a word that clients can match on. The list is closed: when in doubt it is `internal`.
    Code {
        /// The request isn't well-formed.
        BadRequest = "bad-request",
        /// A name breaks the rules of names.
        InvalidName = "invalid-name",
        /// A name that the agent or the host keeps for itself.
        NameReserved = "name-reserved",
        /// A service of this name exists.
        NameTaken = "name-taken",
        /// No such template.
        UnknownTemplate = "unknown-template",
        /// An external repository's address that is not allowed.
        InvalidUri = "invalid-uri",
        /// Environment variables that can't be set.
        InvalidEnv = "invalid-env",
        /// A setting that can't be.
        InvalidSetting = "invalid-setting",
        /// A passkey that can't be registered.
        InvalidPasskey = "invalid-passkey",
        /// Passkeys or cookies don't work at the address by which the browser came.
        UnfitAddress = "unfit-address",
        /// Nobody is signed in.
        NotSignedIn = "not-signed-in",
        /// Signed in, but not allowed.
        Forbidden = "forbidden",
        /// An unsafe request from another site.
        WrongOrigin = "wrong-origin",
        /// No such thing.
        NotFound = "not-found",
        /// The path doesn't take this method.
        MethodNotAllowed = "method-not-allowed",
        /// The thing's state doesn't allow it.
        Conflict = "conflict",
        /// The body is larger than this path takes.
        PayloadTooLarge = "payload-too-large",
        /// The body did not come in its time.
        RequestTimeout = "request-timeout",
        /// A body's type that this path doesn't take.
        UnsupportedMediaType = "unsupported-media-type",
        /// A password that is too short or too easily guessed.
        WeakPassword = "weak-password",
        /// Too many requests.
        RateLimited = "rate-limited",
        /// Podman doesn't answer.
        PodmanUnavailable = "podman-unavailable",
        /// The service user's systemd manager doesn't answer.
        SystemdUnavailable = "systemd-unavailable",
        /// The journal can't be read.
        JournalUnavailable = "journal-unavailable",
        /// The agent's store can't be written or read.
        StoreUnavailable = "store-unavailable",
        /// No space is left on the host's disk.
        DiskFull = "disk-full",
        /// No free port, id range or slot is left.
        Exhausted = "exhausted",
        /// The agent holds as much as it takes at once; the same call goes through in a moment.
        Busy = "busy",
        /// A part of the host that the agent needs doesn't answer.
        NotReady = "not-ready",
        /// The agent is stopping; the same call goes through in a moment.
        Restarting = "restarting",
        /// The source could not be fetched.
        FetchFailed = "fetch-failed",
        /// A registry doesn't take a login, or doesn't answer.
        LoginFailed = "login-failed",
        /// The source has no commit to build.
        NoCommits = "no-commits",
        /// The source has no Containerfile, and no recipe fits its files.
        NoRecipe = "no-recipe",
        /// The build ended with an error.
        BuildFailed = "build-failed",
        /// The build took longer than it may.
        BuildTimeout = "build-timeout",
        /// The new release's unit did not start.
        StartFailed = "start-failed",
        /// The new release started and did not become healthy in its time.
        Unhealthy = "unhealthy",
        /// Somebody cancelled it.
        Cancelled = "cancelled",
        /// A newer deployment took its place.
        Superseded = "superseded",
        /// Nothing that the service watches has changed.
        Unchanged = "unchanged",
        /// The host or the agent stopped in the middle, and it can't go on.
        Interrupted = "interrupted",
        /// The container has no shell.
        NoShell = "no-shell",
        /// A release or an image that is needed is gone.
        ReleaseGone = "release-gone",
        /// A defect of ours.
        Internal = "internal",
    }
}

impl Code {
    /// Whether it says that somebody may not, rather than that something can't be.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::NotSignedIn | Self::Forbidden | Self::WrongOrigin | Self::RateLimited)
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
    /// A problem without a hint. `detail` becomes a sentence: errors begin small, since others go before them in a chain.
    pub fn new(code: Code, detail: impl Into<Plain>) -> Self {
        Self { code, detail: sentence(&detail.into()), hint: None, retry_after: None }
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
        self.hint = Some(sentence(&hint.into()));
        self
    }
}

/// A sentence: with a capital, but where a name begins it that has none, and with an end.
#[must_use]
pub fn sentence(text: &str) -> Plain {
    let text = text.trim();
    let mut letters = text.chars();
    let mut sentence: String = match letters.next() {
        Some(first) if !SMALL.iter().any(|name| text.starts_with(name)) => {
            first.to_uppercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    };
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?', ':', '…']) {
        sentence.push('.');
    }
    sentence.into()
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
    fn what_a_client_is_told_is_a_sentence() {
        let told = |text: &str| Problem::new(Code::Internal, text).detail.to_string();
        assert_eq!(told("the build ended with status 1"), "The build ended with status 1.");
        assert_eq!(told("`blog` is stopped"), "`blog` is stopped.");
        assert_eq!(told("systemd refused `start`"), "systemd refused `start`.");
        assert_eq!(told("Is it there?"), "Is it there?");
        assert_eq!(told("it ends with -"), "It ends with -.");
        assert_eq!(told(" "), "");
    }

    #[test]
    fn what_others_said_commands_nobodys_terminal() {
        let said = "denied\x1b]0;owned\x07\n\u{9b}2J\u{202e}!";
        let problem = Problem::new(Code::LoginFailed, said).with_hint(format!("ask {said}"));
        assert_eq!(problem.detail, r"Denied\x1b]0;owned\x07 \u{9b}2J\u{202e}!");
        assert_eq!(problem.hint.as_deref(), Some(r"Ask denied\x1b]0;owned\x07 \u{9b}2J\u{202e}!"));
        assert_eq!(chain(&std::io::Error::other(said)), r"denied\x1b]0;owned\x07 \u{9b}2J\u{202e}!");
    }
}
