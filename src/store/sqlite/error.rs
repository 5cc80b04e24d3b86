//! Why the embedded store can't be used, or did not do what was asked.

use crate::store::{
    error::StoreError,
    journal::{self, JournalError},
};
use std::{error::Error, io, path::PathBuf};

/// The embedded store can't be used, and what to do about it. The sentence includes the cause.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    #[error(
        "can't use the data directory {}: {cause}; give this user a directory it may write to (DATA_DIR)",
        path.display()
    )]
    Directory { path: PathBuf, cause: io::Error },
    #[error(
        "the data directory {} is in use by another propromo-chat{}; stop it, or give this one a directory of its own \
         (DATA_DIR)",
        path.display(),
        holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
    )]
    InUse { path: PathBuf, holder: Option<u32> },
    #[error("can't open the database {}: {cause}", path.display())]
    File { path: PathBuf, cause: Box<dyn Error + Send + Sync> },
    #[error(
        "the database {} was written by a newer propromo-chat (its tables are version {version}, this one knows up to \
         {latest}); start that one, or restore a backup from before it",
        path.display()
    )]
    TooNew { path: PathBuf, version: u32, latest: u32 },
    #[error(
        "the database {} was written by an older propromo-chat; start this one on it once, which brings it up to date, \
         and stop it again",
        path.display()
    )]
    TooOld { path: PathBuf },
    #[error("can't bring the tables of the database {} up to date: {cause}", path.display())]
    Migration { path: PathBuf, cause: Box<rusqlite_migration::Error> },
    #[error("can't start the thread {name}: {cause}")]
    Thread { name: &'static str, cause: io::Error },
}

impl From<JournalError> for StoreOpenError {
    fn from(error: JournalError) -> StoreOpenError {
        match error {
            JournalError::Io { path, cause } => StoreOpenError::File { path, cause: cause.into() },
            JournalError::TooNew { path, version } => {
                StoreOpenError::TooNew { path, version, latest: journal::VERSION }
            }
        }
    }
}

/// Turns a cause into a [`StoreError`] that names this store and what it tried.
pub(super) fn failed<E: Into<Box<dyn Error + Send + Sync>>>(
    store: &'static str,
    what: &'static str,
) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError { store, what, source: source.into() }
}
