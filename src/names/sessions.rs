//! Terminal sessions.

use std::str::FromStr;

use super::NameError;
use super::text::{is_label, shown, text_name};

text_name! {
    /// What somebody calls a terminal session.
    SessionName
}

impl FromStr for SessionName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Session(shown(text))) }
    }
}

text_name! {
    /// A terminal session: eight of a-z and 2-7, drawn at random. It names the session's container and slice, and marks
    /// its processes.
    SessionId
}

impl SessionId {
    /// The length of one.
    pub const LENGTH: usize = 8;
}

impl FromStr for SessionId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let base32 = text.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
        if base32 && text.len() == Self::LENGTH {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::SessionId(shown(text)))
        }
    }
}

impl SessionId {
    /// What the containers of isolated shells begin with.
    pub const CONTAINERS: &str = "podkeeper-shell-";

    /// `podkeeper-shell-abcdefgh`, the container of an isolated shell.
    #[must_use]
    pub fn container(&self) -> String {
        format!("{}{self}", Self::CONTAINERS)
    }

    /// The session whose container is named `name`, where it is one.
    #[must_use]
    pub fn of_container(name: &str) -> Option<Self> {
        name.strip_prefix(Self::CONTAINERS)?.parse().ok()
    }

    /// `shell-abcdefgh.slice`, which limits an isolated shell.
    #[must_use]
    pub fn slice(&self) -> String {
        format!("shell-{self}.slice")
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn ids() {
        check::<SessionId>(
            &["abcdefgh", "a2345672"],
            &["", "abcdefg", "abcdefghi", "ABCDEFGH", "abcdefg1", "../../.."],
        );
    }

    #[test]
    fn what_is_called_after_a_session() {
        let id: SessionId = "abcdefgh".parse().unwrap();
        assert_eq!(
            (id.container().as_str(), id.slice().as_str()),
            ("podkeeper-shell-abcdefgh", "shell-abcdefgh.slice")
        );
        assert_eq!(SessionId::of_container(&id.container()), Some(id));
        for other in ["", "podkeeper-shell-", "podkeeper-shell-abc", "blog-1", "x-podkeeper-shell-abcdefgh"] {
            assert_eq!(SessionId::of_container(other), None, "{other}");
        }
    }
}
