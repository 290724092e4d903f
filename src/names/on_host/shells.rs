//! Terminal sessions: the isolated shells' containers, slices, home and images, and the units and the mark of each session.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::between;
use crate::names::{ImageRef, SessionId};

/// What the containers of isolated shells begin with. No service has a name that begins so.
const CONTAINERS: &str = "podkeeper-shell-";

impl SessionId {
    /// The volume that every isolated shell has as its home. No service's name begins like this.
    pub const HOME: &str = "podkeeper-shell.home";

    /// The variable that marks a session's processes in a service's container.
    pub const MARK: &str = "PODKEEPER_SESSION";

    /// `podkeeper-shell-abcdefgh`, the container of an isolated shell.
    #[must_use]
    pub fn container(&self) -> String {
        format!("{CONTAINERS}{self}")
    }

    /// The session whose container is named `name`, where it is one.
    #[must_use]
    pub fn of_container(name: &str) -> Option<Self> {
        between(name, CONTAINERS, "")
    }

    /// `shell-abcdefgh.slice`, which limits an isolated shell.
    #[must_use]
    pub fn slice(&self) -> String {
        format!("shell-{self}.slice")
    }

    /// `podkeeper-shell-net-abcdefgh.service`, which closes an isolated shell's network once more.
    #[must_use]
    pub fn closing_unit(&self) -> String {
        format!("podkeeper-shell-net-{self}.service")
    }

    /// `podkeeper-reap-abcdefgh.service`, which ends what carries the session's mark.
    #[must_use]
    pub fn reaping_unit(&self) -> String {
        format!("podkeeper-reap-{self}.service")
    }

    /// `PODKEEPER_SESSION=abcdefgh`, which is in the environment of its processes in a service's container.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("{}={self}", Self::MARK)
    }
}

impl ImageRef {
    /// What the images of the isolated shell's recipes begin with.
    pub const RECIPES: &str = "localhost/podkeeper-shell:";

    /// The image that this recipe of the isolated shell's is built to.
    #[must_use]
    pub fn of_recipe(recipe: &[u8]) -> Self {
        Self::known(format!("{}{}", Self::RECIPES, HEXLOWER.encode(&Sha256::digest(recipe)[..6])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_after_a_session() {
        let id: SessionId = "abcdefgh".parse().unwrap();
        assert_eq!(
            (id.container().as_str(), id.slice().as_str(), id.mark().as_str()),
            ("podkeeper-shell-abcdefgh", "shell-abcdefgh.slice", "PODKEEPER_SESSION=abcdefgh")
        );
        assert_eq!(SessionId::of_container(&id.container()), Some(id.clone()));
        for other in ["", "podkeeper-shell-", "podkeeper-shell-abc", "blog-1", "x-podkeeper-shell-abcdefgh"] {
            assert_eq!(SessionId::of_container(other), None, "{other}");
        }
        assert_eq!(SessionId::of_container(&id.closing_unit()), None);
    }

    #[test]
    fn a_recipes_image_is_known_again() {
        let built = ImageRef::of_recipe(b"FROM scratch\n");
        assert!(built.starts_with(ImageRef::RECIPES) && built.parse() == Ok(built.clone()));
        assert_ne!(ImageRef::of_recipe(b"FROM scratch"), built);
    }
}
