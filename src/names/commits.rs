//! Commits and branches.

use std::str::FromStr;

use super::NameError;
use super::text::{is_hidden, shown, text_name};

text_name! {
    /// A commit id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
    CommitId
}

impl FromStr for CommitId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex && (text.len() == 40 || text.len() == 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Commit(shown(text)))
        }
    }
}

text_name! {
    /// A branch's short name (`main`, `feature/x`), by the rules of git-check-ref-format(1), at most 200 bytes.
    BranchName
}

impl FromStr for BranchName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let joins = |c: char| matches!(c, '\u{200c}' | '\u{200d}');
        let refused = |c: char| is_hidden(c) || joins(c) || " ~^:?*[\\".contains(c);
        let good = !text.is_empty()
            && text.len() <= 200
            && !text.starts_with('-')
            && text != "@"
            && !text.chars().any(refused)
            && !text.contains("..")
            && !text.contains("@{")
            && !text.ends_with('.')
            && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Branch(shown(text))) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::check;
    use super::*;

    #[test]
    fn commits_and_branches() {
        let sha = "0123456789abcdef0123456789abcdef01234567";
        check::<CommitId>(&[sha], &["", "HEAD", "0123", &sha.to_uppercase(), &format!("{sha}0")]);
        check::<BranchName>(
            &["main", "feature/x", "v1.2", "a@b"],
            &[
                "",
                "-x",
                "a..b",
                "a b",
                "a/",
                "/a",
                "a.lock",
                ".a",
                "a:b",
                "@",
                "a@{1}",
                "a\u{7f}",
                "a.",
                "a\u{9b}2J",
                "a\u{202e}b",
            ],
        );
    }
}
