//! Who reads a repository: what git, a forge and an address are told of that.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::{RepoUri, Transport, UriError, User, read};

impl RepoUri {
    /// What git is told of who reads it, where it asks a credential helper (gitcredentials(7)). None: nobody does.
    pub fn credential(&self, secret: &SecretString) -> Option<SecretString> {
        let secret = secret.expose_secret();
        let (name, password) = match &self.user {
            _ if self.transport != Transport::Http || secret.contains(char::is_control) => return None,
            // Forges take any name beside a token.
            User::Nobody => ("git", secret),
            User::Named(name) => (name.as_str(), secret),
            User::Secret => (secret, ""),
        };
        Some(format!("username={name}\npassword={password}\n").into())
    }

    /// The same as the value of an `Authorization` header (RFC 7617).
    #[must_use]
    pub fn basic(&self, secret: &SecretString) -> Option<SecretString> {
        let told = self.credential(secret)?;
        let (name, password) = told.expose_secret().strip_prefix("username=")?.split_once("\npassword=")?;
        let login = format!("{name}:{}", password.trim_end_matches('\n'));
        Some(format!("Basic {}", BASE64_STANDARD.encode(login)).into())
    }

    /// The address `text`, which holds no password, with one, as [`Self::parse`] reads it.
    pub fn with_password(text: &str, password: &SecretString) -> Result<SecretString, UriError> {
        let (mut url, _) = read(text)?;
        let encoded = utf8_percent_encode(password.expose_secret(), NON_ALPHANUMERIC).to_string();
        url.set_password(Some(&encoded)).map_err(|()| UriError::Form("it can't have a password"))?;
        Ok(String::from(url).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_told_one_name_and_one_password() {
        let told = |text: &str| {
            let (uri, secret) = RepoUri::parse(text).unwrap();
            uri.credential(&secret?).map(|told| told.expose_secret().to_owned())
        };
        assert_eq!(told("https://joe:s%40@example.org/b").unwrap(), "username=joe\npassword=s@\n");
        assert_eq!(told("https://:pw@example.org/b").unwrap(), "username=git\npassword=pw\n");
        assert_eq!(told("https://token@example.org/b").unwrap(), "username=token\npassword=\n");
        assert_eq!(told("https://example.org/b"), None);
        assert_eq!(told("ssh://joe:pw@example.org/b"), None);
        // What was kept by an agent before.
        let (uri, _) = RepoUri::parse("https://joe:x@example.org/b").unwrap();
        assert!(uri.credential(&"pw\nhost=elsewhere".to_owned().into()).is_none());
    }

    #[test]
    fn a_password_is_put_in_as_it_is_split_off() {
        for (text, shown) in [
            ("https://joe@example.org/b", "https://joe@example.org/b"),
            ("https://example.org/b", "https://example.org/b"),
            ("git@example.org:b", "ssh://git@example.org/b"),
        ] {
            for password in ["secret", "p@ss/w:örd%41 ?#"] {
                let whole = RepoUri::with_password(text, &password.to_owned().into()).unwrap();
                let (uri, found) = RepoUri::parse(whole.expose_secret()).unwrap();
                assert_eq!((uri.to_string().as_str(), found.unwrap().expose_secret()), (shown, password));
            }
        }
    }
}
