//! systemd's words for how a unit is. What a newer systemd says beside these is kept as it said it, and is none of them.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$of])* $variant,)*
            /// Another word.
            Other(Box<str>),
        }

        impl $name {
            /// systemd's word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }

            #[cfg(test)]
            const WORDS: &[&str] = &[$($word),*];
        }
        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.into()),
                }
            }
        }
        impl From<String> for $name {
            fn from(word: String) -> Self {
                word.as_str().into()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        /// Of a unit that nothing is known of.
        impl Default for $name {
            fn default() -> Self {
                Self::Other("".into())
            }
        }
    };
}

words! {
    /// Whether a unit's file could be read (org.freedesktop.systemd1(5), LoadState).
    LoadState {
        /// It is.
        Loaded = "loaded",
        /// There is none: something else names the unit, or it has just gone.
        NotFound = "not-found",
    }
}

words! {
    /// How a unit is (org.freedesktop.systemd1(5), ActiveState).
    ActiveState {
        /// It runs, or has ended well and counts as running.
        Active = "active",
        /// It runs, and reads its configuration again.
        Reloading = "reloading",
        /// It doesn't run.
        Inactive = "inactive",
        /// It doesn't run, and ended badly.
        Failed = "failed",
        /// It is being started.
        Activating = "activating",
        /// It is being stopped.
        Deactivating = "deactivating",
    }
}

impl ActiveState {
    /// Whether something of the unit may run.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self, Self::Active | Self::Activating | Self::Reloading | Self::Deactivating)
    }
}

words! {
    /// The finer state, of which each kind of unit has its own (systemd's `service_state_table`).
    SubState {
        /// Its program runs.
        Running = "running",
        /// Its program has ended, and the unit counts as active.
        Exited = "exited",
        /// It has ended, and is started again after a pause.
        AutoRestart = "auto-restart",
        /// That pause is over, and its start waits for its turn.
        AutoRestartQueued = "auto-restart-queued",
    }
}

words! {
    /// What a service came to (org.freedesktop.systemd1(5), Result).
    ServiceResult {
        /// It has done no wrong so far.
        Success = "success",
        /// It took too long.
        Timeout = "timeout",
        /// The kernel ended one of its programs for want of memory.
        OomKill = "oom-kill",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_and_shown_as_systemd_says_it() {
        for word in LoadState::WORDS {
            let state = LoadState::from(*word);
            assert!(state.as_str() == *word && !matches!(state, LoadState::Other(_)), "{word}");
        }
        for word in ActiveState::WORDS {
            let state = ActiveState::from(*word);
            assert!(state.as_str() == *word && !matches!(state, ActiveState::Other(_)), "{word}");
        }
        for word in SubState::WORDS {
            let state = SubState::from(*word);
            assert!(state.as_str() == *word && !matches!(state, SubState::Other(_)), "{word}");
        }
        for word in ServiceResult::WORDS {
            let state = ServiceResult::from(*word);
            assert!(state.as_str() == *word && !matches!(state, ServiceResult::Other(_)), "{word}");
        }
    }

    #[test]
    fn a_word_that_is_not_known_stays_as_it_is() {
        for word in ["", "maintenance", "ACTIVE", "refreshing"] {
            assert_eq!(ActiveState::from(word), ActiveState::Other(word.into()));
            assert_eq!(ActiveState::from(word.to_owned()).to_string(), word);
        }
        assert_eq!(SubState::from("start-post").as_str(), "start-post");
        assert_eq!(ServiceResult::default().as_str(), "");
    }
}
