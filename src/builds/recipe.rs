//! A recipe: the Containerfile for a kind of repository.

/// A recipe that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What it is called.
    pub name: &'static str,
    /// Its Containerfile.
    pub containerfile: String,
}
