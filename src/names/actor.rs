//! Who asks.

use std::fmt;
use std::str::FromStr;

use super::text::shown;
use super::{NameError, PasskeyName, SenderName, TokenName};

/// Who asks: it is written beside each deployment, and into the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// An API token, by its name, whether it came as a cookie's session or as a header.
    Token(TokenName),
    /// Whoever has the git password.
    GitPassword,
    /// A passkey, by its name.
    Passkey(PasskeyName),
    /// An enrolment link, which registers a passkey and does nothing else.
    Link,
    /// A process on the host that spoke over the agent's unix socket, by its user id.
    Local(u32),
    /// A forge that has the key of the service's hook, by its kind.
    Hook(SenderName),
    /// The agent itself, ending what it found half done.
    Agent,
}

impl FromStr for Actor {
    type Err = NameError;
    /// The inverse of `Display`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            Some(("token", name)) => name.parse().map(Self::Token),
            Some(("passkey", name)) => Ok(Self::Passkey(PasskeyName::kept(name))),
            Some(("hook", sender)) => sender.parse().map(Self::Hook),
            Some(("local", uid)) => uid.parse().map(Self::Local).map_err(|_| NameError::Number(shown(uid))),
            _ if text == "link" => Ok(Self::Link),
            _ if text == "agent" => Ok(Self::Agent),
            _ if text == "git-password" => Ok(Self::GitPassword),
            _ => Err(NameError::Number(shown(text))),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Passkey(name) => write!(f, "passkey:{name}"),
            Self::Link => f.write_str("link"),
            Self::Local(uid) => write!(f, "local:{uid}"),
            Self::Hook(sender) => write!(f, "hook:{sender}"),
            Self::Agent => f.write_str("agent"),
            Self::GitPassword => f.write_str("git-password"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_back_as_it_was_written() {
        for text in ["token:ci", "passkey:Ann's: key", "hook:azure-devops", "local:0", "link", "agent", "git-password"]
        {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        for text in ["token:a b", "hook:a\nb", "local:x", "root", ""] {
            assert!(text.parse::<Actor>().is_err(), "{text:?}");
        }
        assert_eq!("passkey:a\u{202e}b".parse::<Actor>().unwrap().to_string(), "passkey:ab");
    }
}
