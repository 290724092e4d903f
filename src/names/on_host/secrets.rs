//! The names of Podman's secrets, which hold the values of variables and the passwords of repositories.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use crate::names::text::shown;
use crate::names::{EnvKey, NameError, ServiceName};

/// Podman's own bound.
const LONGEST: usize = 253;

/// A secret of ours in Podman's store: `podkeeper-SERVICE-KEY-RANDOM`. Neither a key nor the random end holds a `-`, so
/// that it belongs to one service.
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
    pub fn new(service: &ServiceName, key: &EnvKey) -> Result<Self, NameError> {
        let random: [u8; 10] = rand::random();
        let text = format!("{}{key}-{}", Self::prefix(service), BASE32_NOPAD.encode(&random).to_ascii_lowercase());
        if text.len() <= LONGEST {
            Ok(Self { text, service: service.clone() })
        } else {
            Err(NameError::LongKey(key.to_string()))
        }
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
        let key = key.and_then(|key| key.parse::<EnvKey>().ok());
        match (random, key, service.map(str::parse)) {
            (Some(_), Some(_), Some(Ok(service))) => Ok(Self { text: text.to_owned(), service }),
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
        for (service, key) in [("blog", "KEY_1"), ("blog-api", "KEY"), ("a", "_")] {
            let made = SecretName::new(&service.parse().unwrap(), &key.parse().unwrap()).unwrap();
            let read: SecretName = made.as_str().parse().unwrap();
            assert_eq!(read, made);
            assert_eq!(read.service().as_str(), service);
        }
        let long = "K".repeat(200).parse().unwrap();
        assert!(SecretName::new(&"a".repeat(40).parse().unwrap(), &long).is_err());
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
