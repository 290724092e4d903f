//! What can be seen of a build that failed, before anything of it goes.

use std::path::{Component, Path, PathBuf};

use super::Builds;
use crate::config::system;
use crate::names::DeploymentId;

/// How many files of a folder are looked at for one of nearly the same name.
const FILES: usize = 10_000;
/// How much of a file of submodules is read, in bytes.
const MODULES: u64 = 1 << 20;

/// A path that is not there, what is there under nearly its name, and the submodule in which it lies.
pub type Missing = (String, Option<String>, Option<String>);

impl Builds {
    /// Whether the kernel ended a program of the build for want of memory; none where the host doesn't count that.
    #[must_use]
    pub fn ran_out_of_memory(&self, id: DeploymentId) -> Option<bool> {
        let manager = self.units.cgroup()?;
        let folder = Path::new(system::CGROUPS).join(manager.trim_start_matches('/')).join("build.slice");
        let events = std::fs::read_to_string(folder.join(id.build_slice()).join("memory.events")).ok()?;
        Some(has_killed(&events))
    }

    /// The first of these paths of a Containerfile that the commit has not.
    pub async fn missing_source(&self, id: DeploymentId, sources: Vec<String>) -> Option<Missing> {
        let context = self.file(id, "");
        let look =
            move || context.is_dir().then(|| sources.iter().find_map(|source| missing(&context, source))).flatten();
        // It is never cancelled: that fails only as the whole agent ends.
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }
}

/// `oom_kill` of the cgroup's memory.events (Documentation/admin-guide/cgroup-v2.rst).
fn has_killed(events: &str) -> bool {
    let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok());
    kills.is_some_and(|kills| kills > 0)
}

/// No link is followed: it may lead out of the commit, and what it leads to is buildah's to find.
fn missing(context: &Path, source: &str) -> Option<Missing> {
    let mut at = context.to_owned();
    let mut walked = PathBuf::new();
    for part in Path::new(source).components() {
        let name = match part {
            Component::Normal(name) => name,
            Component::ParentDir => return None,
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        match at.join(name).symlink_metadata() {
            Ok(found) if found.is_dir() => {
                at.push(name);
                walked.push(name);
            }
            Ok(_) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let near = near(&at, name.to_str()?).map(|near| walked.join(near).display().to_string());
                return Some((source.to_owned(), near, submodule(context, source)));
            }
            Err(_) => return None,
        }
    }
    // A submodule that was not fetched is an empty folder.
    let is_empty = at != context && std::fs::read_dir(&at).is_ok_and(|mut entries| entries.next().is_none());
    submodule(context, source).filter(|_| is_empty).map(|submodule| (source.to_owned(), None, Some(submodule)))
}

/// What differs in its capitals alone.
fn near(folder: &Path, name: &str) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?.take(FILES).flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|other| other.to_lowercase() == name.to_lowercase())
}

/// The submodule in which a path lies, by the commit's own list (gitmodules(5)).
fn submodule(context: &Path, source: &str) -> Option<String> {
    use std::io::Read;
    let file = context.join(".gitmodules");
    if !file.symlink_metadata().is_ok_and(|file| file.is_file()) {
        return None;
    }
    let mut text = String::new();
    std::fs::File::open(file).ok()?.take(MODULES).read_to_string(&mut text).ok()?;
    let source = source.trim_start_matches("./").trim_matches('/');
    let paths = text.lines().filter_map(|line| line.trim().strip_prefix("path")?.trim().strip_prefix('='));
    let mut paths = paths.map(|path| path.trim().trim_matches('/'));
    paths.find(|path| !path.is_empty() && Path::new(source).starts_with(path)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_commit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let context = folder.path();
        std::fs::create_dir_all(context.join("web/Dist")).unwrap();
        std::fs::create_dir_all(context.join("lib")).unwrap();
        std::fs::write(context.join("web/file"), "").unwrap();
        std::fs::write(context.join(".gitmodules"), "[submodule \"x\"]\n\tpath = lib\n\turl = x\n").unwrap();
        std::os::unix::fs::symlink("/nowhere", context.join("link")).unwrap();
        let told = |source: &str| missing(context, source);
        for there in ["web", "/web/file", "./web/", ".", "../x", "link/x", "web/file/"] {
            assert_eq!(told(there), None, "{there}");
        }
        assert_eq!(told("dist"), Some(("dist".into(), None, None)));
        assert_eq!(told("/web/dist/x"), Some(("/web/dist/x".into(), Some("web/Dist".into()), None)));
        assert_eq!(told("lib/x"), Some(("lib/x".into(), None, Some("lib".into()))));
        assert_eq!(told("./lib"), Some(("./lib".into(), None, Some("lib".into()))));
    }

    #[test]
    fn what_the_kernel_has_ended_is_counted() {
        assert!(has_killed("low 0\noom 1\noom_kill 2\noom_group_kill 0\n"));
        assert!(!has_killed("low 0\noom 1\noom_kill 0\n") && !has_killed(""));
    }
}
