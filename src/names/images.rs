//! Images: their ids and their references.

use std::str::FromStr;

use super::settings::{SettingError, setting};
use super::text::{is_sha256, shown, text_name};
use super::{NameError, RegistryHost};

text_name! {
    /// The id of an image, or the digest of a blob: SHA-256 in 64 hexadecimal digits, without the `sha256:` before it
    /// (OCI image-spec, descriptor.md, "Digests").
    ImageId
}

impl FromStr for ImageId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if is_sha256(digits) { Ok(Self(digits.to_owned())) } else { Err(NameError::ImageId) }
    }
}

setting! {
    /// An image's reference, `[REGISTRY/]PATH[:TAG][@DIGEST]`, by the grammar of
    /// <https://pkg.go.dev/github.com/distribution/reference>; only the tag may have upper-case letters.
    ImageRef as str
}

/// Words of letters and digits, between which stand one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |marks: &str| ["", ".", "_", "__"].contains(&marks) || marks.bytes().all(|b| b == b'-');
    text.starts_with(letter) && text.ends_with(letter) && text.split(letter).all(between)
}

fn is_tag(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| letter(b) || b == b'.' || b == b'-')
        && text.bytes().next().is_some_and(letter)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_sha256)
}

impl FromStr for ImageRef {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        // A colon before a slash is a registry's.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if first == "localhost" || first.contains(['.', ':']) => (Some(first), path),
            _ => (None, name),
        };
        let good = name.len() <= 255
            && registry.is_none_or(|registry| registry.parse::<RegistryHost>().is_ok())
            && path.split('/').all(is_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        if good { Ok(Self(text.to_owned())) } else { Err(SettingError::Image(shown(text))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for text in [
            "busybox",
            "busybox:stable",
            "library/busybox",
            "docker.io/library/busybox:stable",
            "localhost/podkeeper-shell:0123456789ab",
            "localhost:5000/a",
            "registry.example.org:5000/a/b_c/d__e/f---g.h:V1.0_x-y",
            "10.0.0.1:5000/a",
            &format!("busybox@{digest}"),
            &format!("docker.io/library/busybox:1@{digest}"),
            &"a".repeat(255),
            &format!("a:{}", "t".repeat(128)),
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().as_str(), text);
        }
        for text in [
            "",
            ":",
            "/",
            "@",
            "a:",
            "a@",
            ":a",
            "/a",
            "a/",
            "a//b",
            "-a",
            "--all",
            "a-",
            ".a",
            "a..b",
            "a.-b",
            "a___b",
            "A",
            "a/B",
            "ä",
            "a b",
            "a\n",
            "a\0",
            "a:t\n",
            "a:-t",
            "a:.t",
            "a:t/b",
            "a:b:c",
            "a,b",
            "a$b",
            "a\"",
            "a%b",
            "a*",
            "../a",
            "./a",
            "docker://a",
            "docker.io/",
            "docker.io:0/a",
            "Docker.io/a",
            "u@docker.io/a",
            "a@sha256:",
            "a@sha256:0a",
            &format!("a@{digest}0"),
            &format!("a@{}", digest.to_uppercase()),
            &format!("a@{digest}@{digest}"),
            &"a".repeat(256),
            &format!("a:{}", "t".repeat(129)),
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text:?}");
        }
    }
}
