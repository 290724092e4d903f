//! Why Podman did not do what it was asked.

use thiserror::Error;

use super::Refusal;
use crate::names::RegistryHost;
use crate::problem::{Code, Problem};
use crate::text::Plain;

/// Why Podman refused.
#[derive(Debug, Error)]
pub enum PodmanError {
    /// Nobody answers on the socket.
    #[error("Podman does not answer on its socket")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Podman answered with an error.
    #[error("Podman refused to {what}: {message}")]
    Refused {
        /// What was asked, as in "remove the image".
        what: &'static str,
        /// Why, as far as it is told.
        why: Refusal,
        /// Podman's own words.
        message: Plain,
    },
    /// A registry doesn't take a login, or doesn't answer.
    #[error("no login at {registry}: {reason}")]
    Login {
        /// The registry.
        registry: RegistryHost,
        /// Podman's own words, which may be the registry's.
        reason: Plain,
    },
    /// The file of the logins.
    #[error("can't {what} the logins at registries")]
    Logins {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The disk has too little room for it.
    #[error("there is too little room on the disk to {what}")]
    Full {
        /// What was asked.
        what: &'static str,
    },
    /// Something in its storage is of no use, and only a host that rests can be rid of it.
    #[error("{0} layers in Podman's storage are what a program left that was killed, and no image is made of them")]
    Layers(usize),
    /// An answer that can't be read.
    #[error("Podman's answer to {what} can't be read")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl PodmanError {
    pub(super) fn refused(what: &'static str, status: u16, message: String) -> Self {
        Self::Refused { what, why: Refusal::of(status, &message), message: message.into() }
    }

    /// The problem that a client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Unavailable(_) => Problem::new(Code::PodmanUnavailable, self.to_string())
                .with_hint("`podkeeper doctor` on the host tells what is wrong"),
            Self::Login { .. } => Problem::new(Code::LoginFailed, self.to_string())
                .with_hint("look at the registry's name, the user and the password; nothing was changed"),
            Self::Logins { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Problem::disk_full(),
            Self::Logins { .. } => Problem::new(Code::Internal, self.to_string())
                .with_hint("the agent's log tells why: `journalctl -u podkeeper`"),
            Self::Refused { why: Refusal::NoSpace, .. } | Self::Full { .. } => Problem::disk_full(),
            Self::Refused { what, .. } => Problem::new(Code::Internal, format!("Podman refused to {what}"))
                .with_hint("the agent's log has Podman's own words: `journalctl -u podkeeper`"),
            Self::Layers(_) => Problem::new(Code::Internal, self.to_string()).with_hint(
                "when nothing is built, started or pulled, `podman system check --quick --repair` as the user podkeeper \
                 removes them",
            ),
            Self::Answer { .. } => Problem::new(Code::Internal, self.to_string()),
        }
    }
}
