//! A commit's files, written where they are built: plain files, and nothing of git.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::command::{failed, run};
use super::submodules::{External, Part};
use super::{GitError, Repositories};
use crate::names::{CommitId, ServiceName};

/// How long one repository's files may take.
const LIMIT: Duration = Duration::from_secs(300);

impl Repositories {
    /// Writes the files of a commit below `into`, which must be there and empty: plain files, and nothing of git. Those of its
    /// submodules, and what Git LFS keeps apart, come from where they lie; `source` is where the service's repository came
    /// from, where that is elsewhere.
    ///
    /// Not `git archive`, which would leave out what `.gitattributes` marks as `export-ignore`. How much it is is known
    /// before: a few kilobytes of a push can be any number of files.
    pub async fn checkout(
        &self,
        service: &ServiceName,
        commit: &CommitId,
        source: Option<External<'_>>,
        into: &Path,
    ) -> Result<(), GitError> {
        let (parts, size) = self.parts(service, commit, source).await?;
        self.check_room(into, size.on_disk())?;
        for part in &parts {
            self.write_files(part, into).await?;
        }
        self.fill_pointers(service, &parts, into, size).await
    }

    async fn write_files(&self, part: &Part, into: &Path) -> Result<(), GitError> {
        let folder = real_folder(into, &part.place).map_err(failed("write", into))?;
        let index = into.with_extension("index");
        let inside = || {
            let mut command = self.git();
            command.env("GIT_DIR", &part.repository).env("GIT_WORK_TREE", &folder).env("GIT_INDEX_FILE", &index);
            command.current_dir(&folder);
            command
        };
        let mut read = inside();
        read.arg("read-tree").arg(part.commit.as_str());
        run(read, "read the commit", LIMIT).await?;
        let mut write = inside();
        write.args(["checkout-index", "--all", "--force", "--quiet"]);
        match run(write, "write the commit's files", LIMIT).await {
            Ok(_) => {}
            // Git doesn't tell why it can't.
            Err(GitError::Failed { .. }) if is_full(into) => {
                return Err(failed("write", into)(std::io::ErrorKind::StorageFull.into()));
            }
            Err(error) => return Err(error),
        }
        tokio::fs::remove_file(&index).await.map_err(failed("remove", &index))
    }
}

/// The folder `place` below `top`, made where it isn't there. Nothing on the way is a link, which a commit may hold and
/// which leads anywhere.
fn real_folder(top: &Path, place: &Path) -> std::io::Result<PathBuf> {
    let mut folder = top.to_owned();
    for part in place.components() {
        folder.push(part);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ if std::fs::symlink_metadata(&folder)?.is_dir() => {}
            _ => return Err(std::io::ErrorKind::NotADirectory.into()),
        }
    }
    Ok(folder)
}

/// Whether nothing more can be written below `folder`, or next to nothing.
fn is_full(folder: &Path) -> bool {
    const NOTHING: u64 = 1024 * 1024;
    statvfs(folder).is_ok_and(|disk| {
        disk.blocks_available().saturating_mul(disk.fragment_size()) < NOTHING || disk.files_available() == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LiveConfig};
    use crate::names::BranchName;

    #[test]
    fn no_link_leads_out_of_a_checkout() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("root")).unwrap();
        assert!(real_folder(folder.path(), Path::new("a/b/c")).unwrap().ends_with("a/b/c"));
        assert!(real_folder(folder.path(), Path::new("root/tmp")).is_err());
        assert!(real_folder(folder.path(), Path::new("root")).is_err());
    }

    /// A repository of ours for which `git fast-import` took this.
    async fn imported(text: &[u8], set: impl FnOnce(&mut Config)) -> (tempfile::TempDir, Repositories, CommitId) {
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.paths.state = state.path().to_owned().try_into().unwrap();
        config.builds.min_free_mib = 1;
        set(&mut config);
        let repositories = Repositories::new(LiveConfig::new(config));
        let (service, branch): (ServiceName, BranchName) = ("blog".parse().unwrap(), "main".parse().unwrap());
        repositories.create(&service, None, &branch).await.unwrap();
        let file = state.path().join("import");
        std::fs::write(&file, text).unwrap();
        let import = std::process::Command::new("git")
            .args(["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"])
            .env("GIT_DIR", repositories.folder(&service))
            .stdin(std::fs::File::open(&file).unwrap())
            .status();
        assert!(import.unwrap().success());
        let head = repositories.head(&service, &branch).await.unwrap().unwrap();
        (state, repositories, head)
    }

    const COMMIT: &str = "commit refs/heads/main\nmark :9\ncommitter A <a@example.com> 0 +0000\ndata 1\nx\n";

    /// What a checkout says, and how many entries it has written.
    async fn check_out(repositories: &Repositories, state: &Path, head: &CommitId) -> (Result<(), GitError>, usize) {
        let into = state.join("into");
        std::fs::create_dir(&into).unwrap();
        let done = repositories.checkout(&"blog".parse().unwrap(), head, None, &into).await;
        (done, std::fs::read_dir(&into).unwrap().count())
    }

    #[tokio::test]
    async fn one_file_under_many_names_is_as_large_as_all_of_them() {
        let mut text = format!("blob\nmark :1\ndata {}\n", 1024 * 1024).into_bytes();
        text.resize(text.len() + 1024 * 1024, 0);
        text.extend_from_slice(format!("\n{COMMIT}").as_bytes());
        for name in 0..500 {
            text.extend_from_slice(format!("M 644 :1 {name}\n").as_bytes());
        }
        let (state, repositories, head) = imported(&text, |config| config.git.max_checkout_mib = 499).await;
        let (done, written) = check_out(&repositories, state.path(), &head).await;
        assert!(matches!(done, Err(GitError::CheckoutTooLarge(499))) && written == 0, "{done:?}");
        let (state, repositories, head) = imported(&text, |config| config.git.max_files = 499).await;
        let (done, written) = check_out(&repositories, state.path(), &head).await;
        assert!(matches!(done, Err(GitError::TooManyFiles(499))) && written == 0, "{done:?}");
        // More than the disk of any test's machine.
        let (state, repositories, head) = imported(&text, |config| config.builds.min_free_mib = 1 << 40).await;
        let (done, written) = check_out(&repositories, state.path(), &head).await;
        assert!(matches!(done, Err(GitError::Room { .. })) && written == 0, "{done:?}");
    }

    #[tokio::test]
    async fn a_folder_of_folders_of_folders_is_not_unfolded() {
        // Ten to the power of ten files, in a few hundred bytes.
        let text = format!("blob\nmark :1\ndata 1\nx\n{COMMIT}M 644 :1 0/0\n").into_bytes();
        let (state, repositories, first) = imported(&text, |_| ()).await;
        assert!(check_out(&repositories, state.path(), &first).await.0.is_ok());
        let git = |arguments: &[&str], input: &str| {
            let file = state.path().join("input");
            std::fs::write(&file, input).unwrap();
            let folder = repositories.folder(&"blog".parse().unwrap());
            let mut git = std::process::Command::new("git");
            git.args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(arguments);
            let output = git.env("GIT_DIR", folder).stdin(std::fs::File::open(file).unwrap()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let mut tree = git(&["rev-parse", &format!("{first}:0")], "");
        for _ in 0..10 {
            let ten: String = (0..10).map(|name| format!("040000 tree {tree}\t{name}\n")).collect();
            tree = git(&["mktree"], &ten);
        }
        let bomb: CommitId = git(&["commit-tree", "-m", "x", &tree], "").parse().unwrap();
        let into = state.path().join("bomb");
        std::fs::create_dir(&into).unwrap();
        let done = repositories.checkout(&"blog".parse().unwrap(), &bomb, None, &into).await;
        assert!(matches!(done, Err(GitError::TooManyFiles(200_000))), "{done:?}");
        assert_eq!(std::fs::read_dir(&into).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn git_has_no_more_memory_than_it_is_given() {
        let size = 15 * 1024 * 1024;
        let mut text = format!("blob\nmark :1\ndata {size}\n").into_bytes();
        text.resize(text.len() + size, b'x');
        text.extend_from_slice(format!("\n{COMMIT}M 644 :1 large\n").as_bytes());
        let (state, repositories, head) = imported(&text, |config| config.git.memory_mib = 8).await;
        let (done, _) = check_out(&repositories, state.path(), &head).await;
        assert!(matches!(done, Err(GitError::Failed { .. })), "{done:?}");
        let (state, repositories, head) = imported(&text, |_| ()).await;
        let (done, written) = check_out(&repositories, state.path(), &head).await;
        assert!(done.is_ok() && written == 1, "{done:?}");
    }
}
