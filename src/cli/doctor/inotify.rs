//! What a user has of inotify(7). The kernel counts by user, and what is in a user namespace counts for whoever made that.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Instances, of which each watches for one program.
    pub(super) instances: u64,
    /// Watches, of all instances together.
    pub(super) watches: u64,
}

/// What processes of these owners have; none where not all of them may be looked at.
pub(super) fn used(owners: &[Range<u32>]) -> Option<Used> {
    let mut used = Used::default();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let path = process.path();
        let is_process = process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        // One that ends meanwhile has nothing.
        let Ok(found) = fs::metadata(&path) else { continue };
        if !is_process || !owners.iter().any(|owner| owner.contains(&found.uid())) {
            continue;
        }
        match of_process(&path) {
            Ok(of_one) => {
                used.instances += of_one.instances;
                used.watches += of_one.watches;
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
            Err(_) => {}
        }
    }
    Some(used)
}

fn of_process(path: &Path) -> std::io::Result<Used> {
    let mut used = Used::default();
    for file in fs::read_dir(path.join("fd"))?.flatten() {
        let is_inotify = fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:inotify");
        if is_inotify {
            let info = fs::read_to_string(path.join("fdinfo").join(file.file_name())).unwrap_or_default();
            used.instances += 1;
            used.watches += info.lines().filter(|line| line.starts_with("inotify ")).count() as u64;
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_watches_is_counted() {
        let process = tempfile::tempdir().unwrap();
        let (fd, info) = (process.path().join("fd"), process.path().join("fdinfo"));
        fs::create_dir(&fd).unwrap();
        fs::create_dir(&info).unwrap();
        // proc(5): a line a watch.
        let watch = "inotify wd:2 ino:9e sdev:801 mask:800afce ignored_mask:0 fhandle-bytes:8\n";
        for (number, target, lines) in [
            ("3", "anon_inode:inotify", format!("pos:\t0\nflags:\t02004000\n{watch}{watch}")),
            ("4", "anon_inode:[eventfd]", watch.to_owned()),
            ("5", "anon_inode:inotify", "pos:\t0\n".to_owned()),
        ] {
            std::os::unix::fs::symlink(target, fd.join(number)).unwrap();
            fs::write(info.join(number), lines).unwrap();
        }
        assert_eq!(of_process(process.path()).unwrap(), Used { instances: 2, watches: 2 });
    }
}
