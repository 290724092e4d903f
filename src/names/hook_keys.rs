//! The keys of hooks.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::NameError;

/// The key of a service's hook: whoever has it may ask for a build. A new one is also a signing token of the Standard
/// Webhooks (`whsec_` and base64), so that one key serves every forge.
#[derive(Clone, PartialEq, Eq)]
pub struct HookKey(String);

impl HookKey {
    const PREFIX: &str = "whsec_";

    /// The key that these random bytes make. None where it would hold a `+` or a `/`, which an address must escape.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Option<Self> {
        let text = STANDARD.encode(bytes);
        (!text.contains(['+', '/'])).then(|| Self(format!("{}{text}", Self::PREFIX)))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes that sign by the rule of the Standard Webhooks.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        let decoded = self.0.strip_prefix(Self::PREFIX).and_then(|text| STANDARD.decode(text).ok());
        decoded.unwrap_or_else(|| self.0.clone().into_bytes())
    }
}

impl FromStr for HookKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
        let good = (24..=200).contains(&text.len()) && text.bytes().all(printable) && text.trim() == text;
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::HookKey) }
    }
}

impl fmt::Debug for HookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn a_hooks_key_signs_with_what_its_base64_holds_and_is_never_shown() {
        let key = HookKey::from_random([7; 32]).expect("it needs no escape");
        assert_eq!((key.as_str().len(), key.signing_bytes()), (50, vec![7; 32]));
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "HookKey(***)");
        assert_eq!(HookKey::from_random([0xff; 32]), None);
        let own: HookKey = "It's a Secret to Everybody".parse().expect("any text may be a key");
        assert_eq!(own.signing_bytes(), own.as_str().as_bytes());
        check::<HookKey>(
            &[],
            &["", "short", &"a".repeat(201), " a key with spaces around it", "a key with\na line's end in it"],
        );
    }
}
