//! Faults that old tools left in objects and that harm nobody: history can't be mended without becoming another, so they
//! are warnings. All others stay errors, such as a `.git` within a tree (git-fsck(1), fsck-msgids(5)).

macro_rules! harmless {
    ($($id:literal,)+) => {
        /// What a push is told of them.
        const RECEIVED: &[&str] = &[$(concat!("receive.fsck.", $id),)+];
        /// What a fetch is told of them.
        const FETCHED: &[&str] = &[$(concat!("fetch.fsck.", $id),)+];
    };
}

harmless! {
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "multipleAuthors",
    "nulInCommit",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
}

fn warnings(keys: &'static [&'static str]) -> impl Iterator<Item = (&'static str, String)> {
    let check = ("transfer.fsckObjects", "true".to_owned());
    std::iter::once(check).chain(keys.iter().map(|key| (*key, "warn".to_owned())))
}

/// How what a push brings is checked.
pub(super) fn of_pushes() -> impl Iterator<Item = (&'static str, String)> {
    warnings(RECEIVED)
}

/// How what is fetched is checked.
pub(super) fn of_fetches() -> impl Iterator<Item = (&'static str, String)> {
    warnings(FETCHED)
}
