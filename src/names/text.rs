//! What kinds of names have in common: how one is read from a text or a number, and shown where it is refused.

/// At most this much of a refused name is repeated in an error, so that an error stays short.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_default).collect()
}

/// What no terminal shows as it is: control characters, also those behind ASCII, what turns the writing round, and what
/// takes no place (Unicode's Bidi_Control, and of the format characters those that join no letters).
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

pub(super) fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=40).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[bytes.len() - 1] != b'-'
}

/// Whether `text` is the SHA-256 of something as Podman and registries write it, or an id of so many digits.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A kind of name that is a text; its `FromStr` says which.
macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::names::NameError;
            fn try_from(text: String) -> Result<Self, $crate::names::NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

pub(super) use text_name;

/// A kind of name that is a number from 1 on.
macro_rules! number_name {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "i64")]
        pub struct $name(pub $inner);

        impl TryFrom<i64> for $name {
            type Error = $crate::names::NameError;
            fn try_from(number: i64) -> Result<Self, $crate::names::NameError> {
                let refused = || $crate::names::NameError::Number(number.to_string());
                if number > 0 { <$inner>::try_from(number).map(Self).map_err(|_| refused()) } else { Err(refused()) }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::names::NameError;
            fn from_str(text: &str) -> Result<Self, $crate::names::NameError> {
                // `parse` alone would take "+1", "01" and 0; one number must have one spelling.
                match text.parse() {
                    Ok(n) if n > 0 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') => Ok(Self(n)),
                    _ => Err($crate::names::NameError::Number($crate::names::text::shown(text))),
                }
            }
        }
    };
}

pub(super) use number_name;

#[cfg(test)]
pub(super) fn check<T: std::str::FromStr>(good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(text.parse::<T>().is_ok(), "`{text}` should be taken");
    }
    for text in bad {
        assert!(text.parse::<T>().is_err(), "`{text}` should be refused");
    }
}

#[cfg(test)]
mod tests {
    use super::super::ServiceName;

    #[test]
    fn a_refused_name_is_shown_short_and_escaped() {
        let error = "x\u{1b}[31m".repeat(50).parse::<ServiceName>().expect_err("it is no name");
        assert!(!error.to_string().contains('\u{1b}'));
        assert!(error.to_string().len() < 500);
    }
}
