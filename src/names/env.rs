//! A service's variables: their keys, and where their values lie.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::{shown, text_name};
use super::{NameError, SecretName};

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

/// Where the value of a variable lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EnvValue {
    /// Nowhere: it is empty, and Podman's store takes no empty secret. It is written as an empty text.
    Empty,
    /// In this secret.
    Secret(SecretName),
}

impl EnvValue {
    /// The secret, where there is one.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretName> {
        match self {
            Self::Empty => None,
            Self::Secret(name) => Some(name),
        }
    }

    /// The secret's name, or an empty text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.secret().map_or("", SecretName::as_str)
    }
}

impl FromStr for EnvValue {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() { Ok(Self::Empty) } else { text.parse().map(Self::Secret) }
    }
}

impl TryFrom<String> for EnvValue {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<EnvValue> for String {
    fn from(value: EnvValue) -> Self {
        value.as_str().to_owned()
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
