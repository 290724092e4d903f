//! What a commit's files take, found before one is written: what git keeps of them says nothing of it. A folder of a
//! thousand times the same folder is kept once, and so is a file of zeros with a thousand names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use super::command::{end_group, failed};
use super::{Failure, GitError, Repositories};
use crate::names::CommitId;

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest entry, of which the path is the most; Linux takes no longer one (PATH_MAX).
const ENTRY: u64 = 4096 + 128;
/// How many bytes an entry's name and numbers take in all, on average; git holds all of them in memory.
const AVERAGE: u64 = 512;
/// What a file takes on the disk at least, in bytes.
const BLOCK: u64 = 4096;
const MIB: u64 = 1024 * 1024;
/// How a submodule's entry begins, and a plain file's.
const LINK: &[u8] = b"160000 ";
const FILE: &[u8] = b"100644 ";

/// What a commit's files take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    /// How many files and folders there are.
    files: u64,
    /// What all files hold, in bytes.
    bytes: u64,
}

impl Size {
    /// What they take at most, in bytes.
    pub(super) fn on_disk(self) -> u64 {
        self.bytes.saturating_add(self.files.saturating_mul(BLOCK))
    }

    /// With what a file of so many bytes takes more than the one that lies in its place.
    pub(super) fn with_file(self, bytes: u64) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), ..self }
    }
}

impl std::ops::Add for Size {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { files: self.files.saturating_add(other.files), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

/// Another repository's commit in the place of a folder: a submodule (gitsubmodules(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Where it belongs.
    pub(super) path: PathBuf,
    /// The commit.
    pub(super) commit: CommitId,
}

/// What is in a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Measured {
    /// What its own files take.
    pub(super) size: Size,
    /// Its submodules.
    pub(super) links: Vec<Link>,
    /// Whether it says where they are.
    pub(super) has_modules: bool,
}

/// How much is taken.
#[derive(Debug, Clone, Copy)]
struct Most {
    files: u64,
    mib: u64,
}

impl Repositories {
    /// What is in a commit of the repository `folder`, beside `before`. More than is taken is an error, found as soon as it
    /// is more.
    pub(super) async fn measure(&self, folder: &Path, commit: &CommitId, before: Size) -> Result<Measured, GitError> {
        let what = "measure the commit";
        let mut command = self.git();
        command.env("GIT_DIR", folder);
        command.args(["ls-tree", "-r", "-t", "-z", "--long", "--full-tree"]).arg(commit.as_str());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(GitError::Run)?;
        let group = child.id();
        let output = child.stdout.take().ok_or(GitError::Answer)?;
        let config = self.config.get();
        let most = Most { files: config.git.max_files, mib: config.git.max_checkout_mib };
        let measured = tokio::time::timeout(LIMIT, sum(output, most, before)).await;
        let measured = measured.unwrap_or(Err(GitError::Slow { what, seconds: LIMIT.as_secs() }));
        if measured.is_err() {
            end_group(group);
        }
        let ended = child.wait().await.map_err(GitError::Run)?;
        let measured = measured?;
        match ended.success() {
            true => Ok(measured),
            false => Err(GitError::Failed { what, why: Failure::Other, message: "its folders can't be read".into() }),
        }
    }

    /// Whether a checkout may be so large.
    pub(super) fn check_size(&self, size: Size) -> Result<(), GitError> {
        let most = self.config.get().git.max_checkout_mib;
        if size.bytes > most.saturating_mul(MIB) { Err(GitError::CheckoutTooLarge(most)) } else { Ok(()) }
    }

    /// Whether the disk of `folder` has room for so many bytes more, and for what builds need besides.
    pub(super) fn check_room(&self, folder: &Path, bytes: u64) -> Result<(), GitError> {
        let disk = statvfs(folder).map_err(|error| failed("measure the disk of", folder)(error.into()))?;
        let free = disk.blocks_available().saturating_mul(disk.fragment_size()) / MIB;
        let needed = self.config.get().builds.min_free_mib.saturating_add(bytes / MIB);
        if free < needed { Err(GitError::Room { free, needed }) } else { Ok(()) }
    }
}

/// Sums what `git ls-tree -z --long` prints: `MODE TYPE ID SIZE<tab>PATH<nul>`, with `-` for the size of what is no file.
async fn sum(output: impl AsyncRead + Unpin, most: Most, before: Size) -> Result<Measured, GitError> {
    let mut output = BufReader::new(output);
    let (mut measured, mut printed, mut entry) = (Measured::default(), 0_u64, Vec::new());
    loop {
        entry.clear();
        let length = (&mut output).take(ENTRY).read_until(0, &mut entry).await.map_err(GitError::Run)?;
        if length == 0 {
            return Ok(measured);
        }
        printed = printed.saturating_add(length as u64);
        measured.size.files += 1;
        let all = measured.size + before;
        let is_whole = entry.last() == Some(&0);
        if !is_whole || all.files > most.files || printed > most.files.saturating_mul(AVERAGE) {
            return Err(GitError::TooManyFiles(most.files));
        }
        let numbers = entry.split(|byte| *byte == b'\t').next().unwrap_or_default();
        let last = numbers.rsplit(|byte| *byte == b' ').next().and_then(|text| std::str::from_utf8(text).ok());
        let bytes = match last {
            Some("-") => 0,
            Some(number) => number.parse().map_err(|_| GitError::Answer)?,
            None => return Err(GitError::Answer),
        };
        measured.size.bytes = measured.size.bytes.saturating_add(bytes);
        let path = &entry[(numbers.len() + 1).min(entry.len() - 1)..entry.len() - 1];
        if numbers.starts_with(LINK) {
            measured.links.push(link(numbers, path)?);
        } else if numbers.starts_with(FILE) && path == b".gitmodules" {
            measured.has_modules = true;
        }
        if all.bytes.saturating_add(bytes) > most.mib.saturating_mul(MIB) {
            return Err(GitError::CheckoutTooLarge(most.mib));
        }
    }
}

fn link(numbers: &[u8], path: &[u8]) -> Result<Link, GitError> {
    let commit = numbers.split(|byte| *byte == b' ').nth(2).and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
    let path = PathBuf::from(OsStr::from_bytes(path));
    let is_below = path.components().all(|part| matches!(part, Component::Normal(name) if name != ".git"));
    match commit.filter(|_| is_below && path.file_name().is_some()) {
        Some(commit) => Ok(Link { path, commit }),
        None => Err(GitError::Answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Most = Most { files: 3, mib: 1 };

    async fn of(entries: &[&str]) -> Result<Size, GitError> {
        Ok(sum(entries.concat().as_bytes(), MOST, Size::default()).await?.size)
    }

    #[tokio::test]
    async fn files_and_folders_are_counted_and_bytes_summed() {
        assert_eq!(of(&[]).await.unwrap(), Size::default());
        let folder = "040000 tree 1a       -\ta\0";
        let file = "100644 blob 1b      12\ta/b\tc d\0";
        let id = "1c".repeat(20);
        let link = format!("160000 commit {id}       -\tsub/a b\0");
        assert_eq!(of(&[folder, file, &link]).await.unwrap(), Size { files: 3, bytes: 12 });
        assert_eq!(Size { files: 3, bytes: 12 }.on_disk(), 3 * 4096 + 12);
    }

    #[tokio::test]
    async fn submodules_are_found_and_count_with_the_others() {
        let id = "1c".repeat(20);
        let modules = "100644 blob 1b      12\t.gitmodules\0";
        let entries = format!("{modules}160000 commit {id}       -\tsub/a b\0");
        let found = sum(entries.as_bytes(), MOST, Size::default()).await.unwrap();
        assert_eq!(found.links, [Link { path: "sub/a b".into(), commit: id.parse().unwrap() }]);
        assert!(found.has_modules);
        let before = Size { files: 2, bytes: 0 };
        assert!(matches!(sum(entries.as_bytes(), MOST, before).await, Err(GitError::TooManyFiles(3))));
        let before = Size { files: 0, bytes: MIB };
        assert!(matches!(sum(entries.as_bytes(), MOST, before).await, Err(GitError::CheckoutTooLarge(1))));
        for path in ["../x", "/etc", ".git/x", "a/.git", ""] {
            let entry = format!("160000 commit {id}       -\t{path}\0");
            assert!(sum(entry.as_bytes(), MOST, Size::default()).await.is_err(), "{path}");
        }
    }

    #[tokio::test]
    async fn what_is_too_much_ends_the_sum() {
        let file = "100644 blob 1b      12\ta\0";
        assert!(matches!(of(&[file; 4]).await, Err(GitError::TooManyFiles(3))));
        let large = format!("100644 blob 1b {}\ta\0", MIB / 2 + 1);
        assert!(of(&[&large]).await.is_ok());
        assert!(matches!(of(&[&large, &large]).await, Err(GitError::CheckoutTooLarge(1))));
        let long = format!("100644 blob 1b 1\t{}\0", "a/".repeat(3000));
        assert!(matches!(of(&[&long]).await, Err(GitError::TooManyFiles(3))));
        let many = format!("100644 blob 1b 1\t{}\0", "a".repeat(900));
        assert!(of(&[&many]).await.is_ok() && of(&[&many, &many]).await.is_err());
        assert!(matches!(of(&["odd\0"]).await, Err(GitError::Answer)));
        assert!(of(&["100644 blob 1b 1\tcut"]).await.is_err());
    }
}
