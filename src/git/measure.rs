//! What a commit's files take, found before one is written: what git keeps of them says nothing of it. A folder of a
//! thousand times the same folder is kept once, and so is a file of zeros with a thousand names.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use super::command::{end_group, failed};
use super::{Failure, GitError, Repositories};
use crate::names::{CommitId, ServiceName};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest entry, of which the path is the most; Linux takes no longer one (PATH_MAX).
const ENTRY: u64 = 4096 + 128;
/// How many bytes an entry's name and numbers take in all, on average; git holds all of them in memory.
const AVERAGE: u64 = 512;
/// What a file takes on the disk at least, in bytes.
const BLOCK: u64 = 4096;
const MIB: u64 = 1024 * 1024;

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
}

/// How much is taken.
#[derive(Debug, Clone, Copy)]
struct Most {
    files: u64,
    mib: u64,
}

impl Repositories {
    /// What the files of a commit take. More than is taken is an error, found as soon as it is more.
    pub(super) async fn measure(&self, service: &ServiceName, commit: &CommitId) -> Result<Size, GitError> {
        let what = "measure the commit";
        let mut command = self.git();
        command.env("GIT_DIR", self.folder(service));
        command.args(["ls-tree", "-r", "-t", "-z", "--long", "--full-tree"]).arg(commit.as_str());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(GitError::Run)?;
        let group = child.id();
        let output = child.stdout.take().ok_or(GitError::Answer)?;
        let config = self.config.get();
        let most = Most { files: config.git.max_files, mib: config.git.max_checkout_mib };
        let measured = tokio::time::timeout(LIMIT, sum(output, most)).await;
        let measured = measured.unwrap_or(Err(GitError::Slow { what, seconds: LIMIT.as_secs() }));
        if measured.is_err() {
            end_group(group);
        }
        let ended = child.wait().await.map_err(GitError::Run)?;
        let size = measured?;
        match ended.success() {
            true => Ok(size),
            false => Err(GitError::Failed { what, why: Failure::Other, message: "its folders can't be read".into() }),
        }
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
async fn sum(output: impl AsyncRead + Unpin, most: Most) -> Result<Size, GitError> {
    let mut output = BufReader::new(output);
    let (mut size, mut printed, mut entry) = (Size::default(), 0_u64, Vec::new());
    loop {
        entry.clear();
        let length = (&mut output).take(ENTRY).read_until(0, &mut entry).await.map_err(GitError::Run)?;
        if length == 0 {
            return Ok(size);
        }
        printed = printed.saturating_add(length as u64);
        size.files += 1;
        let is_whole = entry.last() == Some(&0);
        if !is_whole || size.files > most.files || printed > most.files.saturating_mul(AVERAGE) {
            return Err(GitError::TooManyFiles(most.files));
        }
        let numbers = entry.split(|byte| *byte == b'\t').next().unwrap_or_default();
        let last = numbers.rsplit(|byte| *byte == b' ').next().and_then(|text| std::str::from_utf8(text).ok());
        size.bytes = size.bytes.saturating_add(match last {
            Some("-") => 0,
            Some(number) => number.parse().map_err(|_| GitError::Answer)?,
            None => return Err(GitError::Answer),
        });
        if size.bytes > most.mib.saturating_mul(MIB) {
            return Err(GitError::CheckoutTooLarge(most.mib));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Most = Most { files: 3, mib: 1 };

    async fn of(entries: &[&str]) -> Result<Size, GitError> {
        sum(entries.concat().as_bytes(), MOST).await
    }

    #[tokio::test]
    async fn files_and_folders_are_counted_and_bytes_summed() {
        assert_eq!(of(&[]).await.unwrap(), Size::default());
        let folder = "040000 tree 1a       -\ta\0";
        let file = "100644 blob 1b      12\ta/b\tc d\0";
        assert_eq!(of(&[folder, file, "160000 commit 1c       -\tsub\0"]).await.unwrap(), Size { files: 3, bytes: 12 });
        assert_eq!(Size { files: 3, bytes: 12 }.on_disk(), 3 * 4096 + 12);
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
