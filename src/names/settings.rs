//! What a host's configuration names, each parsed once, into a type that holds only what is allowed wherever it goes.

use thiserror::Error;

/// Why a value of the configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// A path.
    #[error("`{0}` is not a path: it takes an absolute one of letters, digits and ._-+@~, without `.` and `..`")]
    Path(String),
    /// A network.
    #[error("`{0}` is not a network, like 192.168.1.0/24 or fd12:3456::/48")]
    Network(String),
    /// An address of the agent.
    #[error("`{0}` must be an http or https address without a slash at its end, such as https://podkeeper.example.org")]
    BaseUrl(String),
    /// A pattern of addresses that names no service.
    #[error("`{0}` must hold `{{name}}`")]
    NoName(String),
    /// A pattern of addresses that are not a host's.
    #[error(
        "`{0}` must be an http or https address without a slash at its end, and its host a host name with any \
         service's name, of up to 40 characters, in the place of `{{name}}`"
    )]
    ServiceUrl(String),
    /// An image.
    #[error("`{0}` is not an image: it takes a reference such as `docker.io/library/debian:13`")]
    Image(String),
}

/// A text of the configuration, and what it can be used as.
macro_rules! setting {
    ($(#[$doc:meta])* $name:ident as $target:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// One that this program spells out itself.
            pub(crate) fn known(text: impl Into<String>) -> Self {
                let text = text.into();
                debug_assert!(text.parse().is_ok_and(|parsed: Self| parsed.0 == text), "`{text}` is no good one");
                Self(text)
            }

            /// It as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::ops::Deref for $name {
            type Target = $target;
            fn deref(&self) -> &$target {
                self.0.as_ref()
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(setting: $name) -> Self {
                setting.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::names::SettingError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}
pub(super) use setting;
