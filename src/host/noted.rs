//! For how long something has been nobody's: in the time for which the host has run since, as its kernel counts it. Whatever
//! the clock is set to makes nothing older.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::services::ServiceError;

/// The kernel's name of this boot, which is another one each time, and how long it has run (proc(5)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const UPTIME: &str = "/proc/uptime";

fn file(source: std::io::Error) -> ServiceError {
    ServiceError::File { what: "note down what is nobody's", source }
}

/// A moment of the host's running.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Moment {
    boot: String,
    seconds: u64,
}

impl Moment {
    async fn now() -> Result<Self, ServiceError> {
        let boot = tokio::fs::read_to_string(BOOT).await.map_err(file)?.trim().to_owned();
        let uptime = tokio::fs::read_to_string(UPTIME).await.map_err(file)?;
        let seconds = uptime.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
        Ok(Self { boot, seconds: seconds.ok_or_else(|| file(std::io::ErrorKind::InvalidData.into()))? })
    }
}

/// What a file of the folder says: `AGE BOOT MOMENT` and a line's end, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    age: u64,
    at: Moment,
}

impl Note {
    /// None where not all of it is there, or an agent before this one noted something else.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let age = words.next()?.parse().ok()?;
        let boot = words.next()?.to_owned();
        Some(Self { age, at: Moment { boot, seconds: words.next()?.parse().ok()? } })
    }

    fn write(&self) -> String {
        format!("{} {} {}\n", self.age, self.at.boot, self.at.seconds)
    }

    /// The same at a later moment. How long the host did not run between two boots, only the clock would tell.
    fn older(self, now: &Moment) -> Self {
        let more = if self.at.boot == now.boot { now.seconds.saturating_sub(self.at.seconds) } else { 0 };
        Self { age: self.age.saturating_add(more), at: now.clone() }
    }
}

/// For how long each of these has been nobody's, by its id of hexadecimal digits. It is noted down in a file each, so that an
/// agent that starts anew doesn't begin to count again; what is somebody's by now has none any more.
pub(super) async fn ages(folder: &Path, ids: &[&str]) -> Result<BTreeMap<String, Duration>, ServiceError> {
    let now = Moment::now().await?;
    tokio::fs::create_dir_all(folder).await.map_err(file)?;
    let mut entries = tokio::fs::read_dir(folder).await.map_err(file)?;
    while let Some(entry) = entries.next_entry().await.map_err(file)? {
        if !entry.file_name().to_str().is_some_and(|id| ids.contains(&id)) {
            tokio::fs::remove_file(entry.path()).await.map_err(file)?;
        }
    }
    let mut ages = BTreeMap::new();
    for id in ids {
        let path = folder.join(id);
        let noted = match tokio::fs::read(&path).await {
            Ok(text) => Note::read(&String::from_utf8_lossy(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(file(error)),
        };
        let note = noted.map_or_else(|| Note { age: 0, at: now.clone() }, |noted| noted.older(&now));
        tokio::fs::write(&path, note.write()).await.map_err(file)?;
        ages.insert((*id).to_owned(), Duration::from_secs(note.age));
    }
    Ok(ages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, seconds: u64) -> Moment {
        Moment { boot: boot.into(), seconds }
    }

    #[test]
    fn only_the_time_for_which_the_host_runs_makes_anything_older() {
        let note = Note { age: 100, at: at("a", 50) };
        assert_eq!(Note::read(&note.write()), Some(note.clone()));
        assert_eq!(note.clone().older(&at("a", 60)).age, 110);
        assert_eq!(note.clone().older(&at("b", 9000)), Note { age: 100, at: at("b", 9000) });
        assert_eq!(note.older(&at("a", 10)).age, 100);
        for text in ["", "100 a", "100 a 5", "a b c\n", "100\n"] {
            assert_eq!(Note::read(text), None, "{text:?}");
        }
    }

    #[tokio::test]
    async fn the_time_is_counted_from_when_nothing_named_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("unnamed");
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        assert_eq!(ages(&folder, &[&one, &two]).await.unwrap().len(), 2);
        let now = Moment::now().await.unwrap();
        let hour = Duration::from_secs(3600);
        let note = |text: String| std::fs::write(folder.join(&one), text).unwrap();
        note(Note { age: 3600, at: now }.write());
        let counted = ages(&folder, &[&one, &two]).await.unwrap();
        assert!(counted[&one] >= hour && counted[&two] < hour, "{counted:?}");
        // A clock that is years ahead, as that of the file's own time.
        let later = std::time::SystemTime::now() - 24 * 365 * hour;
        std::fs::File::options().write(true).open(folder.join(&two)).unwrap().set_modified(later).unwrap();
        assert!(ages(&folder, &[&one, &two]).await.unwrap()[&two] < hour);
        // It is somebody's meanwhile, and then no more.
        assert!(ages(&folder, &[]).await.unwrap().is_empty());
        assert!(ages(&folder, &[&one]).await.unwrap()[&one] < hour);
        // An agent before this one noted nothing in it.
        note(String::new());
        assert!(ages(&folder, &[&one]).await.unwrap()[&one] < hour);
    }
}
