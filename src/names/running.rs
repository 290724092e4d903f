//! How a service's program is run, as it is set: where it listens, how a new release takes an old one's place, and how one is
//! stopped.

use std::num::NonZeroU16;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::words::words;

/// Where a program listens in its container: on a port, or nowhere. As JSON it is a number or the word `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerPort {
    /// On this port.
    Number(NonZeroU16),
    /// Nowhere: the service has no address.
    None,
}

impl ContainerPort {
    /// The word for nowhere.
    pub const NONE: &str = "none";

    /// The port, where there is one.
    #[must_use]
    pub fn number(self) -> Option<u16> {
        match self {
            Self::Number(number) => Some(number.get()),
            Self::None => None,
        }
    }
}

impl Serialize for ContainerPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u16(number.get()),
            Self::None => serializer.serialize_str(Self::NONE),
        }
    }
}

impl<'de> Deserialize<'de> for ContainerPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Number(NonZeroU16),
            Word(Word),
        }
        #[derive(Deserialize)]
        enum Word {
            #[serde(rename = "none")]
            None,
        }
        Ok(match Given::deserialize(deserializer)? {
            Given::Number(number) => Self::Number(number),
            Given::Word(Word::None) => Self::None,
        })
    }
}

words! {
    /// How a new release takes the place of the one before.
    Strategy {
        /// It starts beside it, and gets the traffic when it is healthy.
        Rolling = "rolling",
        /// The one before stops first, since two must never have the same volumes.
        Recreate = "recreate",
    }
}

words! {
    /// The signal that asks a program to end.
    StopSignal {
        /// To end.
        Term = "SIGTERM",
        /// As from a keyboard.
        Int = "SIGINT",
        /// To end, by what many servers take for gracefully.
        Quit = "SIGQUIT",
        /// Its terminal is gone.
        Hup = "SIGHUP",
        /// Its own.
        Usr1 = "SIGUSR1",
        /// Its own.
        Usr2 = "SIGUSR2",
        /// What Apache's server takes for gracefully.
        Winch = "SIGWINCH",
        /// At once.
        Kill = "SIGKILL",
        /// What systemd takes in a container.
        Rtmin3 = "SIGRTMIN+3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_port_is_a_number_or_the_word_none() {
        let read = |value| serde_json::from_value::<ContainerPort>(value).ok();
        for value in [json!(1), json!(65_535), json!("none")] {
            assert_eq!(json!(read(value.clone()).unwrap()), value);
        }
        assert_eq!(read(json!("none")).unwrap().number(), None);
        for value in [json!(0), json!(65_536), json!(-1), json!("80"), json!("None"), json!(""), json!(null), json!({})]
        {
            assert_eq!(read(value.clone()), None, "{value}");
        }
    }
}
