//! Templates.

use std::str::FromStr;

use super::NameError;
use super::text::{is_label, shown, text_name};

text_name! {
    /// A template's name, which is its folder's.
    TemplateName
}

impl FromStr for TemplateName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Template(shown(text))) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn templates() {
        check::<TemplateName>(&["static", "node-18"], &["", "..", "a/b", "A", "a."]);
    }
}
