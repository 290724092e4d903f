//! `podkeeper.toml`, in which a repository says settings of its own. Its text is anybody's who may push.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use super::BuildError;
use super::file_fault::FileFault;
use crate::names::RepoPath;
use crate::store::Settings;

/// What the file is called.
pub const FILE: &str = "podkeeper.toml";
/// How many bytes it may have.
const LARGEST: u64 = 64 * 1024;

/// Reads the text of such a file.
pub type ReadFile = fn(&str) -> Result<Settings, FileFault>;

/// Such a file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFile {
    /// Where it lies, from the repository's top on.
    pub path: RepoPath,
    /// What it says.
    pub settings: Settings,
}

/// The file below `top`: in the folder that is set, or else at the top.
pub(super) fn find(top: &Path, root: Option<&RepoPath>, read: ReadFile) -> Result<Option<RepositoryFile>, BuildError> {
    let here = RepoPath::top();
    for folder in root.into_iter().chain([&here]) {
        let Ok(file) = FILE.parse() else { continue };
        let path = folder.join(&file);
        let fault = |why: &str| FileFault { line: None, why: why.to_owned() };
        let wrong = |fault: FileFault| BuildError::RepositoryFile { path: path.clone(), fault };
        if let Some(text) = text(top, &path).map_err(|why| wrong(fault(why)))? {
            let settings = read(&text).map_err(wrong)?;
            return Ok(Some(RepositoryFile { path, settings }));
        }
    }
    Ok(None)
}

/// Its text; none where there is no such file.
fn text(top: &Path, path: &RepoPath) -> Result<Option<String>, &'static str> {
    let whole = top.join(path.as_str());
    let Ok(found) = whole.symlink_metadata() else { return Ok(None) };
    // A folder on the way to it may be a link, too.
    let is_inside = || Some(whole.parent()?.canonicalize().ok()?.starts_with(top.canonicalize().ok()?));
    if !found.is_file() || is_inside() != Some(true) {
        return Err("it must be a file of the repository, no link and no folder");
    }
    let cannot = |_| "it can't be read";
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&whole).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LARGEST {
        return Err("it has more than 64 KiB");
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "it is no UTF-8")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(text: &str) -> Result<Settings, FileFault> {
        match text.parse() {
            Ok(stop) => Ok(Settings { stop_timeout: Some(stop), ..Settings::default() }),
            Err(_) => Err(FileFault { line: Some(7), why: "no".into() }),
        }
    }

    #[test]
    fn the_file_of_the_folder_that_is_built_comes_before_the_tops() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        let root: RepoPath = "apps/web".parse().unwrap();
        let find = |root: Option<&RepoPath>| {
            find(top, root, read).map(|file| file.map(|file| (file.path.to_string(), file.settings.stop_timeout)))
        };
        assert_eq!(find(Some(&root)).unwrap(), None);
        std::fs::write(top.join(FILE), "1").unwrap();
        assert_eq!(find(Some(&root)).unwrap(), Some(("podkeeper.toml".into(), Some(1))));
        std::fs::create_dir_all(top.join("apps/web")).unwrap();
        std::fs::write(top.join("apps/web").join(FILE), "2").unwrap();
        assert_eq!(find(Some(&root)).unwrap(), Some(("apps/web/podkeeper.toml".into(), Some(2))));
        assert_eq!(find(None).unwrap(), Some(("podkeeper.toml".into(), Some(1))));
    }

    #[test]
    fn what_is_no_plain_file_of_the_repository_is_refused() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (top, file) = (folder.path(), folder.path().join(FILE));
        let told = |root: Option<&RepoPath>| find(top, root, read).unwrap_err().to_string();
        symlink("/etc/passwd", &file).unwrap();
        assert_eq!(told(None), "`podkeeper.toml`: it must be a file of the repository, no link and no folder");
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(told(None).ends_with("no link and no folder"));
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, "x").unwrap();
        assert_eq!(told(None), "`podkeeper.toml`, line 7: no");
        std::fs::write(&file, vec![b'#'; 64 * 1024 + 1]).unwrap();
        assert!(told(None).ends_with("it has more than 64 KiB"));
        std::fs::write(&file, b"\xff").unwrap();
        assert!(told(None).ends_with("it is no UTF-8"));
        std::fs::write(other.path().join(FILE), "1").unwrap();
        symlink(other.path(), top.join("out")).unwrap();
        assert!(told(Some(&"out".parse().unwrap())).starts_with("`out/podkeeper.toml`: it must be a file"));
    }
}
