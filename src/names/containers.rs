//! Containers.

use std::str::FromStr;

use super::NameError;
use super::text::{is_sha256, text_name};

text_name! {
    /// A container's id, by which Podman knows it whatever it is called: 64 hexadecimal digits.
    ContainerId
}

impl FromStr for ContainerId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_sha256(text) { Ok(Self(text.to_owned())) } else { Err(NameError::ContainerId) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn ids() {
        let id = "0123456789abcdef".repeat(4);
        check::<ContainerId>(&[&id], &["", "blog-1", &id[1..], &format!("{id}0"), &id.to_uppercase()]);
    }
}
