//! Why Podman refuses, by what it answers.

/// Why Podman refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What was asked for isn't there.
    NotFound,
    /// A container has the name already.
    NameInUse,
    /// The disk is full.
    NoSpace,
    /// For something else.
    Other,
}

impl Refusal {
    /// From the status of the answer, which is documented, and the words of its message, which are not: Podman answers 500 to
    /// much that has no status of its own.
    pub(super) fn of(status: u16, message: &str) -> Self {
        match status {
            404 => Self::NotFound,
            // `the container name "x" is already in use by ID. You have to remove that container to be able to reuse that name:
            // that name is already in use`, by containers/storage in Podman 5.4 (ErrDuplicateName).
            _ if message.contains("already in use") => Self::NameInUse,
            // ENOSPC, as Go's package syscall words it for every call that ends so, be it Podman's, storage's or crun's.
            _ if message.contains("no space left on device") => Self::NoSpace,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_status_or_its_words() {
        for (status, message, why) in [
            (404, "no such container: no container with name or ID \"x\" found", Refusal::NotFound),
            (
                500,
                "that name is already in use: creating container storage: the container name \"blog-1-prepare\" is already \
                 in use by 0a. You have to remove that container to be able to reuse that name: that name is already in use",
                Refusal::NameInUse,
            ),
            (500, "write /x: no space left on device", Refusal::NoSpace),
            (409, "image is in use by a container", Refusal::Other),
            (500, "", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(status, message), why, "{message}");
        }
    }
}
