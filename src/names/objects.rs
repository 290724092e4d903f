//! The names of large files that git leaves to Git LFS.

use std::str::FromStr;

use super::NameError;
use super::text::{is_sha256, shown, text_name};

text_name! {
    /// The SHA-256 of a large file, by which Git LFS names it, as 64 digits.
    LfsId
}

impl FromStr for LfsId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_sha256(text) { Ok(Self(text.to_owned())) } else { Err(NameError::LfsId(shown(text))) }
    }
}

/// What lies in a commit in the place of a large file
/// (git-lfs/docs/spec.md): its name, and how large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LfsPointer {
    /// The file.
    pub id: LfsId,
    /// How many bytes it has.
    pub size: u64,
}

impl LfsPointer {
    /// The longest one; a longer file is none.
    pub const LONGEST: usize = 1024;
    const VERSIONS: [&str; 2] =
        ["version https://git-lfs.github.com/spec/v1", "version https://hawser.github.com/spec/v1"];

    /// Reads a file of a commit; none where it is no pointer.
    #[must_use]
    pub fn read(file: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(file).ok().filter(|text| text.len() <= Self::LONGEST)?;
        let mut lines = text.lines();
        if !Self::VERSIONS.contains(&lines.next()?) {
            return None;
        }
        let (mut id, mut size) = (None, None);
        for line in lines {
            match line.split_once(' ')? {
                ("oid", value) => id = value.strip_prefix("sha256:")?.parse().ok(),
                ("size", value) => size = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self { id: id?, size: size? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_known_by_its_first_line() {
        let id = "4d".repeat(32);
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{id}\nsize 12345\n");
        assert_eq!(LfsPointer::read(text.as_bytes()), Some(LfsPointer { id: id.parse().unwrap(), size: 12345 }));
        let more = text.replace("oid", "ext-0-foo sha256:00\noid");
        assert!(LfsPointer::read(more.as_bytes()).is_some());
        for none in [
            String::new(),
            format!("x{text}"),
            text.replace("size", "sise"),
            text.replace("sha256:4d", "sha256:../4"),
            text.replace("sha256:4d", "md5:4d"),
            format!("{text}{}", "x y\n".repeat(300)),
        ] {
            assert_eq!(LfsPointer::read(none.as_bytes()), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_file_is_read_without_a_fault(file in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = LfsPointer::read(&file);
        }
    }
}
