//! What is kept from build to build has a size and an end. It belongs to the services' ids, so that only the user
//! namespace's root sees how large it is, and may remove it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::error::{SandboxError, output, system};
use super::folders::{grow_older, remove, take_away};
use super::room::room;
use crate::config;
use crate::names::ServiceName;
use crate::uptime::Moment;

/// What a file takes at least, in bytes: a block of the usual size.
const FILE: u64 = 4096;
const WHAT: &str = "measure a folder";

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of all services together, in bytes.
    pub most: u64,
    /// Behind a service's last build.
    pub age: Duration,
    /// So much of the disk is to be free, in bytes, as far as caches make room.
    pub free: u64,
}

/// A service's part of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    name: String,
    bytes: u64,
    /// How long ago its last build was.
    age: Duration,
    is_a_service: bool,
}

/// Removes what is beyond the bounds, and what belongs to none of these services. What a build has at the moment stays.
pub fn tidy(cache: &Path, services: &[ServiceName], bounds: Bounds) -> Result<(), SandboxError> {
    std::fs::create_dir_all(cache).map_err(system("make the cache"))?;
    let mut tidied = Ok(());
    for name in surplus(kept(cache, services)?, room(cache)?, bounds) {
        let removed = match take_away(&cache.join(name)) {
            Ok(Some(gone)) => remove(&gone),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        // One that can't be removed keeps no other.
        tidied = tidied.and(removed);
    }
    tidied
}

fn kept(cache: &Path, services: &[ServiceName]) -> Result<Vec<Kept>, SandboxError> {
    let what = "look at the cache";
    let now = Moment::now().map_err(system(what))?;
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(cache).map_err(system(what))? {
        let entry = entry.map_err(system(what))?;
        if !entry.file_type().map_err(system(what))?.is_dir() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = grow_older(&entry.path(), &now).map_or(Duration::MAX, Option::unwrap_or_default);
        let is_a_service = services.iter().any(|service| service.as_str() == name);
        // What can't be measured is the first to go.
        let bytes = size(&entry.path()).unwrap_or(u64::MAX);
        kept.push(Kept { bytes, name, age, is_a_service });
    }
    Ok(kept)
}

/// How much disk a folder and all that is in it takes, in bytes: a file takes some, too, however short it is. Coreutils
/// know how to walk folders of any depth.
fn size(folder: &Path) -> Result<u64, SandboxError> {
    taken(folder, |du| output(du, WHAT))
}

/// The same of what somebody works in meanwhile: what has gone by the time that it is looked at takes nothing.
pub(super) fn size_in_use(folder: &Path) -> Result<u64, SandboxError> {
    taken(folder, whatever_it_said)
}

/// Coreutils' `du` sums up the rest where it could not look at something, and ends with a failure.
fn whatever_it_said(du: &mut Command) -> Result<Vec<u8>, SandboxError> {
    Ok(du.stdin(Stdio::null()).stderr(Stdio::null()).output().map_err(system(WHAT))?.stdout)
}

fn taken(folder: &Path, run: impl Fn(&mut Command) -> Result<Vec<u8>, SandboxError>) -> Result<u64, SandboxError> {
    let sum = |unit: &str| {
        let mut du = Command::new(config::system::DU);
        du.args(["--summarize", "--one-file-system", unit, "--"]).arg(folder);
        let said = run(&mut du)?;
        let number = String::from_utf8_lossy(&said).split_whitespace().next().and_then(|number| number.parse().ok());
        number.ok_or_else(|| system(WHAT)(std::io::ErrorKind::InvalidData.into()))
    };
    let (bytes, files): (u64, u64) = (sum("--block-size=1")?, sum("--inodes")?);
    Ok(bytes.max(files.saturating_mul(FILE)))
}

/// The names of what goes: what is nobody's or too old, then the largest, until the rest is within the bounds. So whoever
/// takes much makes room for the others.
fn surplus(mut kept: Vec<Kept>, mut room: u64, bounds: Bounds) -> Vec<String> {
    let is_over = |one: &Kept| !one.is_a_service || one.age > bounds.age;
    kept.sort_by_key(|one| std::cmp::Reverse((is_over(one), one.bytes)));
    let mut all = kept.iter().fold(0_u64, |all, one| all.saturating_add(one.bytes));
    let mut goes = Vec::new();
    for one in kept {
        if !is_over(&one) && all <= bounds.most && room >= bounds.free {
            continue;
        }
        all = all.saturating_sub(one.bytes);
        room = room.saturating_add(one.bytes);
        goes.push(one.name);
    }
    goes
}

#[cfg(test)]
mod tests {
    use super::super::folders::USED;
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn one(name: &str, bytes: u64, days: u32) -> Kept {
        Kept { name: name.into(), bytes, age: DAY * days, is_a_service: name != "gone" }
    }

    #[test]
    fn what_is_nobodys_old_or_too_much_goes_and_the_largest_first() {
        let all =
            || vec![one("small", 20, 3), one("large", 40, 0), one("gone", 5, 0), one("dead", 9, 8), one("some", 30, 6)];
        let goes = |most, room, free| surplus(all(), room, Bounds { most, age: DAY * 7, free });
        assert_eq!(goes(1000, 50, 0), ["dead", "gone"]);
        assert_eq!(goes(89, 50, 0), ["dead", "gone", "large"]);
        assert_eq!(goes(49, 50, 0), ["dead", "gone", "large", "some"]);
        assert_eq!(goes(0, 50, 0), ["dead", "gone", "large", "some", "small"]);
        // For room on the disk: 50, 9 and 5 by then, and 40 more with the largest.
        assert_eq!(goes(1000, 50, 64), ["dead", "gone"]);
        assert_eq!(goes(1000, 50, 65), ["dead", "gone", "large"]);
        assert_eq!(goes(1000, 0, 1000), ["dead", "gone", "large", "some", "small"]);
        // One whose size nobody can tell.
        assert_eq!(
            surplus(vec![one("a", 1, 0), one("b", u64::MAX, 0)], 0, Bounds { most: 9, age: DAY, free: 0 }),
            ["b"]
        );
    }

    #[test]
    fn the_folders_of_the_cache_are_measured_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path();
        let services: Vec<ServiceName> = ["blog", "shop"].map(|name| name.parse().unwrap()).to_vec();
        for (name, used) in [("blog", true), ("shop", false), ("gone", true)] {
            std::fs::create_dir_all(cache.join(name).join("store/a/b")).unwrap();
            std::fs::write(cache.join(name).join("store/a/b/file"), vec![1; 100_000]).unwrap();
            if used {
                std::fs::write(cache.join(name).join(USED), b"").unwrap();
                // The clock is years ahead.
                let used = std::fs::File::options().write(true).open(cache.join(name).join(USED)).unwrap();
                used.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
        }
        let found = kept(cache, &services).unwrap();
        assert!(found.iter().all(|one| (100_000..1_000_000).contains(&one.bytes)), "{found:?}");
        let bounds = Bounds { most: u64::MAX, age: DAY, free: 0 };
        let build = std::fs::File::open(cache.join("gone")).unwrap();
        build.lock().unwrap();
        tidy(cache, &services, bounds).unwrap();
        assert!(cache.join("gone").exists(), "what a build has stays");
        drop(build);
        tidy(cache, &services, bounds).unwrap();
        assert!(cache.join("blog").exists() && !cache.join("shop").exists() && !cache.join("gone").exists());
        std::fs::write(cache.join("blog").join(USED), "90000 another-boot 0\n").unwrap();
        let build = std::fs::File::open(cache.join("blog")).unwrap();
        build.lock().unwrap();
        assert_eq!(kept(cache, &services).unwrap()[0].age, Duration::ZERO, "it is used now");
        drop(build);
        assert_eq!(kept(cache, &services).unwrap()[0].age, Duration::from_secs(90_000));
        tidy(cache, &services, bounds).unwrap();
        assert!(!cache.join("blog").exists());
    }

    #[test]
    fn what_can_not_be_looked_at_keeps_nothing_else_from_being_measured() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), vec![1; 100_000]).unwrap();
        // As where a file has gone between the listing and the look.
        let and_one_that_is_gone = |du: &mut Command| {
            let mut both = Command::new(du.get_program());
            whatever_it_said(both.args(du.get_args()).arg(folder.path().join("gone")))
        };
        assert!((100_000..1_000_000).contains(&taken(folder.path(), and_one_that_is_gone).unwrap()));
        let size = size_in_use(folder.path()).unwrap();
        assert!((100_000..1_000_000).contains(&size) && size_in_use(&folder.path().join("gone")).is_err());
    }
}
