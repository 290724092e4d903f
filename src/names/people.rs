//! What people and programs elsewhere choose: names of tokens and passkeys, and text that is kept, logged or shown as it
//! came.

use std::str::FromStr;

use super::NameError;
use super::text::{is_hidden, is_label, shown, text_name};

/// How long a name that a person chooses may be, in characters.
const LONGEST: usize = 64;

text_name! {
    /// A token's name: 1 to 64 of letters, digits, `-`, `_`, `.` and `@`.
    TokenName
}

impl FromStr for TokenName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
        let good = (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain);
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Token(shown(text))) }
    }
}

text_name! {
    /// What its owner calls a passkey: 1 to 64 characters that a terminal and a page show as they are.
    PasskeyName
}

impl FromStr for PasskeyName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = (1..=LONGEST).contains(&text.chars().count()) && !text.chars().any(is_hidden);
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Passkey(shown(text))) }
    }
}

impl PasskeyName {
    /// The name that was kept when more could be one: what can't is left out.
    #[must_use]
    pub fn kept(text: &str) -> Self {
        let name: String = text.chars().filter(|c| !is_hidden(*c)).take(LONGEST).collect();
        Self(if name.is_empty() { "passkey".to_owned() } else { name })
    }
}

text_name! {
    /// The kind of a forge that sends deliveries, as `github` is one.
    SenderName
}

impl SenderName {
    /// One that this program spells out itself.
    pub(crate) fn known(text: &'static str) -> Self {
        debug_assert!(is_label(text), "`{text}` is no good one");
        Self(text.to_owned())
    }
}

impl FromStr for SenderName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Sender(shown(text))) }
    }
}

text_name! {
    /// A forge's number of a delivery: 1 to 200 printable ASCII characters.
    DeliveryId
}

impl FromStr for DeliveryId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
        let good = (1..=200).contains(&text.len()) && text.bytes().all(printable);
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::DeliveryId) }
    }
}

text_name! {
    /// The path that a release's health is asked for at: it begins with `/`, and is at most 500 printable ASCII
    /// characters without `..`.
    HealthPath
}

impl FromStr for HealthPath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.starts_with('/')
            && text.len() <= 500
            && !text.contains("..")
            && text.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::HealthPath(shown(text))) }
    }
}

/// The beginning of a text that somebody else wrote, on one line: what no terminal shows as it is stands escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    /// How much of it is kept, in characters.
    pub const MOST: usize = 200;

    /// The beginning of `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut kept = String::with_capacity(text.len().min(Self::MOST));
        for c in text.chars().take(Self::MOST) {
            if is_hidden(c) { kept.extend(c.escape_unicode()) } else { kept.push(c) }
        }
        Self(kept)
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Excerpt> for String {
    fn from(excerpt: Excerpt) -> Self {
        excerpt.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    /// What none of them may hold.
    const HIDDEN: [&str; 10] = [
        "a\nb",
        "a\rb",
        "a\0",
        "a\u{1b}[31mb",
        "a\u{85}b",
        "a\u{9b}2J",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{200b}b",
        "a\u{e0041}b",
    ];

    #[test]
    fn names_that_people_choose() {
        let long = "a".repeat(64);
        check::<TokenName>(&["ci", "a.b-c_d@e", &long], &["", "a b", "é", "a/b", "a:b", &format!("{long}a")]);
        check::<PasskeyName>(&["Ann's key", "Schlüssel 🔑", "鍵", &"é".repeat(64)], &["", &"é".repeat(65)]);
        check::<SenderName>(&["github", "bitbucket-cloud"], &["", "Git Hub", "a:b"]);
        check::<DeliveryId>(&["72d3162e-cc78-11e3", "\"quoted\"", &"a".repeat(200)], &["", "é", &"a".repeat(201)]);
        check::<HealthPath>(&["/", "/up?a=b"], &["", "up", "/a b", "/../a", "/é", &format!("/{}", "a".repeat(500))]);
        check::<TokenName>(&[], &HIDDEN);
        check::<PasskeyName>(&[], &HIDDEN);
        check::<SenderName>(&[], &HIDDEN);
        check::<DeliveryId>(&[], &HIDDEN);
        check::<HealthPath>(&[], &HIDDEN.map(|text| format!("/{text}")).each_ref().map(String::as_str));
    }

    #[test]
    fn a_passkeys_name_of_before_is_kept_without_what_can_not_be_in_one() {
        for (text, name) in
            [("Ann's key", "Ann's key"), ("a\u{202e}b\n", "ab"), ("\u{200b}", "passkey"), ("", "passkey")]
        {
            assert_eq!(PasskeyName::kept(text).as_str(), name);
        }
        assert!(PasskeyName::kept(&"x".repeat(100)).as_str().parse::<PasskeyName>().is_ok());
    }

    #[test]
    fn an_excerpt_is_short_and_one_line_and_hides_nothing() {
        assert_eq!(Excerpt::of("a\u{202e}é\n").as_str(), "a\\u{202e}é\\u{a}");
        assert_eq!(Excerpt::of(&"é".repeat(1000)).as_str().chars().count(), Excerpt::MOST);
        for text in HIDDEN {
            assert!(!Excerpt::of(text).as_str().chars().any(is_hidden));
        }
    }
}
