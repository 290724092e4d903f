//! What a check finds.

use serde::Serialize;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    /// It works, and may not for long.
    Warn,
    Bad,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) what: &'static str,
    /// How it stands.
    pub(super) level: Level,
    /// In words.
    pub(super) detail: String,
    /// What to do about it.
    pub(super) next: Option<String>,
}

/// All is well with it.
pub(super) fn good(what: &'static str, detail: impl Into<String>) -> Finding {
    Finding { what, level: Level::Ok, detail: detail.into(), next: None }
}

/// Something is not, and this is the next step.
pub(super) fn wrong(what: &'static str, level: Level, detail: impl Into<String>, next: impl Into<String>) -> Finding {
    Finding { what, level, detail: detail.into(), next: Some(next.into()) }
}
