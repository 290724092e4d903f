//! What tells ssh keys apart.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::NameError;
use super::text::{shown, text_name};

text_name! {
    /// The fingerprint of an ssh key, as `ssh-keygen -l` prints it: `SHA256:` and 43 characters.
    Fingerprint
}

const PREFIX: &str = "SHA256:";

impl Fingerprint {
    /// The fingerprint of a key with this digest.
    #[must_use]
    pub fn of(digest: &[u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", BASE64_STANDARD_NO_PAD.encode(digest)))
    }
}

impl FromStr for Fingerprint {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let digest = text.strip_prefix(PREFIX).and_then(|text| BASE64_STANDARD_NO_PAD.decode(text).ok());
        match digest {
            Some(digest) if digest.len() == 32 => Ok(Self(text.to_owned())),
            _ => Err(NameError::Fingerprint(shown(text))),
        }
    }
}

/// A host's ssh key, as a line of a file of known hosts tells it behind the host's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    kind: String,
    key: Vec<u8>,
}

impl HostKey {
    /// Reads `KIND BASE64`; what stands behind that is passed over. None where it is no key.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (kind, key) = (words.next()?, words.next()?);
        let is_kind =
            kind.len() <= 60 && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-@.".contains(&byte));
        let key = base64::prelude::BASE64_STANDARD.decode(key).ok()?;
        // The key tells its kind once more (RFC 4253, section 6.6).
        let named = key.get(4..4 + kind.len())?;
        (is_kind && key.len() <= 8192 && named == kind.as_bytes()).then(|| Self { kind: kind.to_owned(), key })
    }

    /// Its kind, such as `ssh-ed25519`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it is made of.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, base64::prelude::BASE64_STANDARD.encode(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_key_is_read_and_written_as_it_is() {
        assert_eq!(HostKey::read(&format!("{KEY} comment")).unwrap().to_string(), KEY);
        for bad in ["", "ssh-ed25519", "ssh-ed25519 !", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMq", "a\x1bb AAAA"] {
            assert_eq!(HostKey::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_is_that_of_one_digest() {
        let print = Fingerprint::of(&[7; 32]);
        assert_eq!(print.as_str().parse::<Fingerprint>().unwrap(), print);
        for bad in ["", "SHA256:", "MD5:00", "SHA256:x", &format!("{print}A"), &format!("{print}=")] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
