//! For how long something has been nobody's. It is noted down in a file each, so that an agent that starts anew doesn't begin
//! to count again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::services::ServiceError;
use crate::uptime::{Age, Moment};

fn file(source: std::io::Error) -> ServiceError {
    ServiceError::File { what: "note down what is nobody's", source }
}

/// For how long each of these has been nobody's, by its id of hexadecimal digits; what is somebody's by now is noted down no
/// more.
pub(super) async fn ages(folder: &Path, ids: &[&str]) -> Result<BTreeMap<String, Duration>, ServiceError> {
    let now = Moment::now().map_err(file)?;
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
        let age = match tokio::fs::read(&path).await {
            Ok(text) => Age::read(&text, &now),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Age::none(&now),
            Err(error) => return Err(file(error)),
        };
        tokio::fs::write(&path, age.text()).await.map_err(file)?;
        ages.insert((*id).to_owned(), age.duration());
    }
    Ok(ages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_time_is_counted_from_when_nothing_named_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("unnamed");
        let (one, two) = ("a".repeat(64), "b".repeat(64));
        assert_eq!(ages(&folder, &[&one, &two]).await.unwrap().len(), 2);
        let hour = Duration::from_secs(3600);
        std::fs::write(folder.join(&one), "3600 another-boot 0\n").unwrap();
        let counted = ages(&folder, &[&one, &two]).await.unwrap();
        assert!(counted[&one] >= hour && counted[&two] < hour, "{counted:?}");
        // A clock that is years ahead of the file's own time.
        let before = std::time::SystemTime::now() - 24 * 365 * hour;
        std::fs::File::options().write(true).open(folder.join(&two)).unwrap().set_modified(before).unwrap();
        assert!(ages(&folder, &[&one, &two]).await.unwrap()[&two] < hour);
        // It is somebody's meanwhile, and then no more.
        assert!(ages(&folder, &[]).await.unwrap().is_empty());
        assert!(ages(&folder, &[&one]).await.unwrap()[&one] < hour);
    }
}
