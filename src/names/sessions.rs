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
}
