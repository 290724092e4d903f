//! Whether what is written comes to the disk, as the writer has seen it last. It is said once, whoever meets it.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::ErrorCode;

use super::StoreError;
use crate::problem::chain;

/// What the disk did with the last transaction. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    failure: Arc<Mutex<Option<Arc<rusqlite::Error>>>>,
}

impl Disk {
    /// A transaction was committed, or not. One that `wrote` nothing came to no disk, and says nothing of it.
    pub(super) fn note(&self, committed: &Result<(), Arc<rusqlite::Error>>, wrote: bool) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match committed {
            Ok(()) => {
                if wrote && failure.take().is_some() {
                    tracing::info!("the store can be written again; what waited for it goes on");
                }
            }
            Err(error) if is_outage(error) => {
                if failure.replace(error.clone()).is_none() {
                    let error = StoreError::Sql(error.clone());
                    tracing::error!("nothing can be written to the store: {}; {}", chain(&error), error.problem());
                }
            }
            Err(_) => {}
        }
    }

    /// Why nothing can be written at the moment.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone().map(StoreError::Sql)
    }
}

/// Whether it is the disk's fault, not the statement's: the same may well go through once that is mended.
pub(super) fn is_outage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::OutOfMemory
        )
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn it_is_full_until_it_takes_something_again() {
        let disk = Disk::default();
        let failed = |code| Err(Arc::new(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)));
        disk.note(&failed(ffi::SQLITE_CONSTRAINT), true);
        assert!(disk.failure().is_none(), "that is the statement's fault");
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR, ffi::SQLITE_READONLY] {
            disk.note(&failed(code), true);
            disk.note(&failed(ffi::SQLITE_CONSTRAINT), true);
            disk.note(&Ok(()), false);
            let failure = disk.failure().unwrap();
            assert!(failure.is_outage() && failure.problem().hint.is_some(), "{failure:?}");
            disk.note(&Ok(()), true);
            assert!(disk.failure().is_none());
        }
    }
}
