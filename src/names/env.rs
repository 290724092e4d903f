//! The keys of a service's variables.

use std::str::FromStr;

use super::error::NameError;
use super::text::{is_hidden, shown, text_name};

/// What systemd, its generator or Podman would read in a unit as more than a part of the key.
const MARKS: &str = "=,\"'\\%$";

text_name! {
    /// An environment variable's key: 1 to 200 bytes of what a terminal shows, without blanks and without `=,"'\%$`. It
    /// stands in a release's unit, which couldn't carry those (systemd.syntax(7), podman-run(1) on `--secret`), and begins
    /// with no `-`, so that it is read as no option.
    EnvKey
}

impl FromStr for EnvKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = (1..=200).contains(&text.len())
            && !text.starts_with('-')
            && !text.chars().any(|c| c.is_whitespace() || is_hidden(c) || MARKS.contains(c));
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::EnvKey(shown(text))) }
    }
}

impl EnvKey {
    /// Whether the agent alone gives it: the container port decides it, and another value would only mislead the program.
    #[must_use]
    pub fn is_agents(&self) -> bool {
        self.0 == "PORT"
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn keys() {
        let good = ["A", "_x", "PATH_2", "2A", "a-b", "discovery.type", "É", "a[0]", "a;b", "#a"];
        let bad = [
            "",
            "-a",
            "A B",
            "A=B",
            "A\n",
            "A\0",
            "A\t",
            "A\u{a0}B",
            "A\u{202e}B",
            "A,B",
            "A\"",
            "A'",
            "A\\",
            "A%h",
            "A$B",
        ];
        check::<EnvKey>(&good, &bad);
        check::<EnvKey>(&[&"A".repeat(200)], &[&"A".repeat(201)]);
    }
}
