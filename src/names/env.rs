//! The keys of a service's variables.

use std::str::FromStr;

use super::error::NameError;
use super::text::{shown, text_name};

text_name! {
    /// An environment variable's key, `^[A-Za-z_][A-Za-z0-9_]*$` (POSIX), at most 200 bytes.
    EnvKey
}

impl FromStr for EnvKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.len() <= 200
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::EnvKey(shown(text))) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn keys() {
        check::<EnvKey>(&["A", "_x", "PATH_2"], &["", "2A", "A-B", "A B", "A=B", "É"]);
    }
}
