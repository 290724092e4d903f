//! What a commit's files are built by.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::BuildError;
use super::detect::{self, Recipe};
use super::expose::exposed;
use super::near_miss::{self, NearMiss};
use crate::names::RepoPath;
use crate::store::Settings;

/// Podman's own order (podman-build(1)).
const FILES: [&str; 2] = ["Containerfile", "Dockerfile"];
/// The lists of what is no part of a build (containerignore(5)), and the endings of those of one file's builds.
const LISTS: [&str; 2] = [".containerignore", ".dockerignore"];
/// How many bytes of the instructions are read.
const LONGEST: u64 = 1024 * 1024;

/// What a context is built by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instructions {
    /// The folder that is built, from the repository's top on.
    pub root: RepoPath,
    /// What says how.
    pub by: By,
    /// The port that it says itself that the program listens on.
    pub port: Option<u16>,
    /// What might have been meant in its place.
    pub passed_over: Option<NearMiss>,
    /// Their text.
    text: String,
}

/// What says how a context is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A file of the repository, from its top on.
    Own(RepoPath),
    /// A recipe that fits its files.
    Recipe(Recipe),
}

impl Instructions {
    /// Whether they may want the argument of this name. Buildah warns of each that nobody wants.
    #[must_use]
    pub fn mention(&self, argument: &str) -> bool {
        self.text.contains(argument)
    }
}

/// What the context below `top` is built by. A link may lead out of it, to what is not its own, or has no end.
pub(super) fn choose(top: &Path, settings: &Settings) -> Result<Instructions, BuildError> {
    let top = &top.canonicalize().map_err(|_| BuildError::NoRecipe(None))?;
    let root = settings.root.clone().unwrap_or_else(RepoPath::top);
    let folder = top.join(root.as_str()).canonicalize().ok().filter(|path| path.is_dir() && path.starts_with(top));
    let folder = &folder.ok_or_else(|| BuildError::NoRoot(root.clone()))?;
    let leads = |name: &str| folder.join(name).canonicalize();
    let inside = |path: &Path| path.is_file() && path.starts_with(top);
    let is_there = |name: &RepoPath| leads(name.as_str()).is_ok_and(|path| inside(&path));
    let own = match &settings.containerfile {
        Some(file) if is_there(file) => Some(file.clone()),
        Some(file) => {
            let near_miss = near_miss::find(folder, Some(file));
            return Err(BuildError::NoContainerfile { path: file.clone(), near_miss });
        }
        None => FILES.into_iter().filter_map(|name| name.parse().ok()).find(is_there),
    };
    // One that leads nowhere here may lead somewhere in the build's own place.
    let outside = |list: &String| folder.join(list).is_symlink() && !leads(list).is_ok_and(|path| inside(&path));
    let of_file = own.iter().flat_map(|own| LISTS.map(|list| format!("{own}{list}")));
    let mut lists = LISTS.into_iter().map(str::to_owned).chain(of_file);
    if let Some(list) = lists.find(outside) {
        return Err(BuildError::IgnoreFile(list));
    }
    let passed_over = own.is_none().then(|| near_miss::find(folder, None)).flatten();
    let (by, text) = match own {
        Some(name) => {
            let text = read(&folder.join(name.as_str()))?;
            (By::Own(root.join(&name)), text)
        }
        None => {
            let recipe = detect::detect_in(folder).ok_or_else(|| BuildError::NoRecipe(passed_over.clone()))?;
            let text = recipe.containerfile.clone();
            (By::Recipe(recipe), text)
        }
    };
    Ok(Instructions { root, by, port: exposed(&text, &settings.build_args), passed_over, text })
}

fn read(file: &Path) -> Result<String, BuildError> {
    let failed = |source| BuildError::Folder { what: "read the build's instructions", source };
    let mut text = Vec::new();
    File::open(file).map_err(failed)?.take(LONGEST).read_to_end(&mut text).map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn plain(context: &Path) -> Result<Instructions, BuildError> {
        choose(context, &Settings::default())
    }

    fn own(chosen: Result<Instructions, BuildError>) -> String {
        match chosen.unwrap().by {
            By::Own(path) => path.to_string(),
            By::Recipe(recipe) => panic!("{recipe:?}"),
        }
    }

    #[test]
    fn the_instructions_are_the_repositorys_own() {
        let folder = tempfile::tempdir().unwrap();
        let context = folder.path();
        assert!(matches!(plain(context), Err(BuildError::NoRecipe(None))));
        // Also where the repository has no instructions.
        std::fs::write(context.join("index.html"), "").unwrap();
        assert!(matches!(plain(context), Ok(Instructions { by: By::Recipe(_), port: Some(8080), .. })));
        symlink("/dev/zero", context.join(".dockerignore")).unwrap();
        assert!(matches!(plain(context), Err(BuildError::IgnoreFile(list)) if list == ".dockerignore"));
        std::fs::remove_file(context.join(".dockerignore")).unwrap();
        std::fs::create_dir(context.join("docker")).unwrap();
        std::fs::write(context.join("docker/file"), "FROM scratch\n").unwrap();
        symlink("docker/file", context.join("Dockerfile")).unwrap();
        assert_eq!(own(plain(context)), "Dockerfile");
        // A link out of the repository is none of its files.
        symlink("/etc/passwd", context.join("Containerfile")).unwrap();
        assert_eq!(own(plain(context)), "Dockerfile");
        std::fs::remove_file(context.join("Containerfile")).unwrap();
        std::fs::write(context.join("Containerfile"), "FROM scratch\n").unwrap();
        for (list, target) in [(".containerignore", "/dev/zero"), ("Containerfile.dockerignore", "/nowhere/at/all")] {
            symlink(target, context.join(list)).unwrap();
            assert!(matches!(plain(context), Err(BuildError::IgnoreFile(name)) if name == list));
            std::fs::remove_file(context.join(list)).unwrap();
        }
        symlink("docker/file", context.join(".containerignore")).unwrap();
        assert_eq!(own(plain(context)), "Containerfile");
    }

    #[test]
    fn a_folder_and_a_file_that_are_set_are_built() {
        let folder = tempfile::tempdir().unwrap();
        let context = folder.path();
        std::fs::create_dir_all(context.join("apps/web/docker")).unwrap();
        std::fs::write(context.join("Containerfile"), "FROM a\nEXPOSE 1\n").unwrap();
        std::fs::write(context.join("apps/web/index.html"), "").unwrap();
        std::fs::write(context.join("apps/web/docker/Dockerfile"), "FROM a\nEXPOSE 2\nARG SOURCE_COMMIT\n").unwrap();
        let of = |root: Option<&str>, file: Option<&str>| {
            let parse = |text: &str| text.parse().unwrap();
            choose(context, &Settings { root: root.map(parse), containerfile: file.map(parse), ..Settings::default() })
        };
        let chosen = of(Some("apps/web"), Some("docker/Dockerfile")).unwrap();
        assert_eq!((chosen.root.as_str(), chosen.port), ("apps/web", Some(2)));
        assert!(chosen.mention("SOURCE_COMMIT") && !chosen.mention("SOURCE_BRANCH"));
        assert_eq!(own(Ok(chosen)), "apps/web/docker/Dockerfile");
        assert_eq!(own(of(None, Some("apps/web/docker/Dockerfile"))), "apps/web/docker/Dockerfile");
        assert_eq!(own(of(Some("."), None)), "Containerfile");
        // The recipe is that of the folder's own files, and what else may have been meant is told.
        let chosen = of(Some("apps/web"), None).unwrap();
        assert!(matches!(chosen.by, By::Recipe(Recipe { name: "static site", .. })));
        assert_eq!(chosen.passed_over, Some(NearMiss::Called("docker/Dockerfile".parse().unwrap())));
        assert!(matches!(of(Some("apps/wbe"), None), Err(BuildError::NoRoot(_))));
        assert!(matches!(of(Some("Containerfile"), None), Err(BuildError::NoRoot(_))));
        symlink("/etc", context.join("out")).unwrap();
        assert!(matches!(of(Some("out"), None), Err(BuildError::NoRoot(_))));
        assert!(matches!(of(None, Some("out/passwd")), Err(BuildError::NoContainerfile { .. })));
        assert!(matches!(of(None, Some("apps")), Err(BuildError::NoContainerfile { .. })));
    }
}
