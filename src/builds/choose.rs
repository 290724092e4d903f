//! What a commit's files are built by.

use std::path::Path;

use super::BuildError;
use super::detect::{self, Recipe};

/// Podman's own order (podman-build(1)), each with the lists of what is no part of a build by it.
const FILES: [(&str, [&str; 2]); 2] = [
    ("Containerfile", ["Containerfile.containerignore", "Containerfile.dockerignore"]),
    ("Dockerfile", ["Dockerfile.containerignore", "Dockerfile.dockerignore"]),
];
/// The lists of every build (containerignore(5)).
const LISTS: [&str; 2] = [".containerignore", ".dockerignore"];

/// What a context is built by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instructions {
    /// A file of the repository.
    Own(&'static str),
    /// A recipe that fits its files.
    Recipe(Recipe),
}

/// What the context is built by. A link may lead out of it, to what is not its own, or has no end.
pub(super) fn choose(context: &Path) -> Result<Instructions, BuildError> {
    let context = &context.canonicalize().map_err(|_| BuildError::NoRecipe)?;
    let leads = |name: &str| context.join(name).canonicalize();
    let inside = |path: &Path| path.is_file() && path.starts_with(context);
    let own = FILES.iter().find(|(name, _)| leads(name).is_ok_and(|path| inside(&path)));
    // One that leads nowhere here may lead somewhere in the build's own place.
    let outside = |list: &&str| context.join(list).is_symlink() && !leads(list).is_ok_and(|path| inside(&path));
    let lists = LISTS.into_iter().chain(own.iter().flat_map(|(_, lists)| *lists));
    if let Some(list) = lists.into_iter().find(outside) {
        return Err(BuildError::IgnoreFile(list));
    }
    match own {
        Some((name, _)) => Ok(Instructions::Own(name)),
        None => Ok(Instructions::Recipe(detect::detect_in(context).ok_or(BuildError::NoRecipe)?)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_instructions_are_the_repositorys_own() {
        let folder = tempfile::tempdir().unwrap();
        let context = folder.path();
        assert!(matches!(choose(context), Err(BuildError::NoRecipe)));
        // Also where the repository has no instructions.
        std::fs::write(context.join("index.html"), "").unwrap();
        assert!(matches!(choose(context), Ok(Instructions::Recipe(_))));
        symlink("/dev/zero", context.join(".dockerignore")).unwrap();
        assert!(matches!(choose(context), Err(BuildError::IgnoreFile(".dockerignore"))));
        std::fs::remove_file(context.join(".dockerignore")).unwrap();
        std::fs::create_dir(context.join("docker")).unwrap();
        std::fs::write(context.join("docker/file"), "FROM scratch\n").unwrap();
        symlink("docker/file", context.join("Dockerfile")).unwrap();
        assert_eq!(choose(context).unwrap(), Instructions::Own("Dockerfile"));
        // A link out of the repository is none of its files.
        symlink("/etc/passwd", context.join("Containerfile")).unwrap();
        assert_eq!(choose(context).unwrap(), Instructions::Own("Dockerfile"));
        std::fs::remove_file(context.join("Containerfile")).unwrap();
        std::fs::write(context.join("Containerfile"), "FROM scratch\n").unwrap();
        for (list, target) in [(".containerignore", "/dev/zero"), ("Containerfile.dockerignore", "/nowhere/at/all")] {
            symlink(target, context.join(list)).unwrap();
            assert!(matches!(choose(context), Err(BuildError::IgnoreFile(name)) if name == list));
            std::fs::remove_file(context.join(list)).unwrap();
        }
        symlink("docker/file", context.join(".containerignore")).unwrap();
        assert_eq!(choose(context).unwrap(), Instructions::Own("Containerfile"));
    }
}
