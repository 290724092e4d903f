//! The names of Podman's secrets, which hold the values of variables and the passwords of repositories.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use crate::names::text::shown;
use crate::names::{EnvKey, NameError, ServiceName};

/// Podman's own bound.
const LONGEST: usize = 253;

/// What Podman takes in a secret's name, but for `.` and `-`.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// As much of a key stands in its secret's name, so that the name stays below Podman's bound whatever the service.
const KEY: usize = 150;

/// A secret of ours in Podman's store: `podkeeper-SERVICE-KEY-RANDOM`. Of the key only letters, digits and `_` are written as
/// they are: Podman takes few others, and neither it nor the random end may hold a `-`, so that the secret belongs to one
/// service. The random end alone tells secrets apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName {
    text: String,
    service: ServiceName,
}

impl SecretName {
    /// What all of them begin with.
    pub const PREFIX: &str = "podkeeper-";

    /// A new one for the variable `key` of `service`.
    #[must_use]
    pub fn new(service: &ServiceName, key: &EnvKey) -> Self {
        let random: [u8; 10] = rand::random();
        let key: String = key.as_str().chars().map(|c| if is_plain(c) { c } else { '_' }).take(KEY).collect();
        let text = format!("{}{key}-{}", Self::prefix(service), BASE32_NOPAD.encode(&random).to_ascii_lowercase());
        Self { text, service: service.clone() }
    }

    /// What all secrets of `service` begin with, and those of services whose names go on with a `-`.
    #[must_use]
    pub fn prefix(service: &ServiceName) -> String {
        format!("{}{service}-", Self::PREFIX)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The service that it belongs to.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SecretName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = || NameError::Secret(shown(text));
        let mut parts = text.strip_prefix(Self::PREFIX).ok_or_else(refused)?.rsplitn(3, '-');
        let (random, key, service) = (parts.next(), parts.next(), parts.next());
        let random =
            random.filter(|end| end.len() == 16 && end.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        let key = key.filter(|key| !key.is_empty() && key.chars().all(is_plain));
        match (random, key, service.map(str::parse)) {
            (Some(_), Some(_), Some(Ok(service))) if text.len() <= LONGEST => {
                Ok(Self { text: text.to_owned(), service })
            }
            _ => Err(refused()),
        }
    }
}

impl TryFrom<String> for SecretName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.text
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
    use super::*;

    #[test]
    fn a_secret_belongs_to_one_service() {
        let (longest, long) = ("a".repeat(40), "é".repeat(100));
        for (service, key) in
            [("blog", "KEY_1"), ("blog-api", "KEY"), ("a", "_"), ("blog", "api-a.b/c"), ("b", "2"), (&longest, &long)]
        {
            let made = SecretName::new(&service.parse().unwrap(), &key.parse().unwrap());
            let read: SecretName = made.as_str().parse().unwrap();
            assert_eq!(read, made);
            assert_eq!(read.service().as_str(), service);
        }
        for other in [
            "someone-elses",
            "podkeeper-",
            "podkeeper-blog",
            "podkeeper-blog-KEY-short",
            "podkeeper-blog-KEY-abcdefghijklmno,",
            "podkeeper-blog-K Y-abcdefghijklmnop",
            "podkeeper-Blog-KEY-abcdefghijklmnop",
            "podkeeper-blog-KEY-abcdefghijklmnop\n",
        ] {
            assert!(other.parse::<SecretName>().is_err(), "{other:?}");
        }
    }
}
