//! Why git fails, by its words: it always ends with the same status.

/// Why git failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The repository elsewhere has no such branch.
    NoSuchBranch,
    /// The disk is full.
    NoSpace,
    /// Who answers over ssh has another key than before.
    HostKey,
    /// It holds objects that git refuses.
    BadObject,
    /// Something else.
    Other,
}

impl Failure {
    /// From its last words in the language `C`, in which it is always run.
    pub(super) fn of(message: &str) -> Self {
        // `fatal: couldn't find remote ref refs/heads/x`, by git 2.21 and later (remote.c).
        if message.contains("couldn't find remote ref") {
            Self::NoSuchBranch
        // ENOSPC, as the C library words it (strerror(3)) for git, ssh and what else git starts.
        } else if message.contains("No space left on device") {
            Self::NoSpace
        // `Host key verification failed.`, by ssh (sshconnect.c).
        } else if message.contains("Host key verification failed") {
            Self::HostKey
        // `fatal: fsck error in packed object` and `fsck error in pack objects` (index-pack.c, unpack-objects.c).
        } else if message.contains("fsck error in pack") {
            Self::BadObject
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_known_by_its_words() {
        for (message, why) in [
            ("fatal: couldn't find remote ref refs/heads/main", Failure::NoSuchBranch),
            ("error: unable to write file x: No space left on device", Failure::NoSpace),
            ("Host key verification failed.", Failure::HostKey),
            ("error: object x: hasDotgit: contains '.git' fatal: fsck error in packed object", Failure::BadObject),
            ("fatal: Authentication failed for …", Failure::Other),
            ("", Failure::Other),
        ] {
            assert_eq!(Failure::of(message), why, "{message}");
        }
    }
}
