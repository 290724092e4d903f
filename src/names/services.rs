//! Services.

use std::str::FromStr;

use super::NameError;
use super::text::{is_label, number_name, shown, text_name};

number_name! {
    /// A service's row, counted from 1. One that is made anew under the same name has another.
    ServiceId(i64)
}

text_name! {
    /// A service's name: `^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$`, so that it is a DNS label, an image name and a unit
    /// prefix at once, and not one that the agent keeps for itself.
    ServiceName
}

impl FromStr for ServiceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        const RESERVED: [&str; 9] =
            ["available", "status", "build", "podkeeper", "podkeeper-proxy", "localhost", "podman", "app", "git"];
        if !is_label(text) {
            return Err(NameError::Service(shown(text)));
        }
        if RESERVED.contains(&text) || text.starts_with("build-") || text.starts_with("podkeeper-") {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn service_names() {
        let longest = format!("a{}", "b".repeat(39));
        let too_long = format!("a{}", "b".repeat(40));
        check::<ServiceName>(
            &["a", "blog", "a-1", "my-blog2", &longest],
            &[
                "",
                "-a",
                "a-",
                "1a",
                "A",
                "a_b",
                "a.b",
                "a b",
                "a/b",
                "..",
                "é",
                "a\n",
                "available",
                "status",
                "build-1",
                "podkeeper",
                &too_long,
            ],
        );
    }
}
