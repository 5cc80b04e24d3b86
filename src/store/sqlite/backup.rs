//! Copies one of the store's files while other connections write to it.

use super::{
    database::{self, BUSY, DiskSync, Tuning},
    error::StoreOpenError,
};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Copies the file `from`, as it is at one moment, to the new file `to` (mode 0600), and checks the copy.
///
/// No other connection waits for it, but the WAL of `from` only grows until it is done. `to` is no larger than its
/// content, and has no WAL.
pub fn copy(from: &Path, to: &Path) -> Result<(), StoreOpenError> {
    let unusable =
        |path: &Path, cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
    let tuning = Tuning { sync: DiskSync::Commit, autocheckpoint: 0, cache_kib: 2048, query_only: false, busy: BUSY };
    let source = database::connect(from, &tuning).map_err(|cause| unusable(from, cause))?;
    // Made here, because SQLite would let everybody read it.
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    new.map_err(|cause| StoreOpenError::File { path: to.to_owned(), cause: cause.into() })?;
    let target = to.to_str().ok_or_else(|| unusable(to, rusqlite::Error::InvalidPath(to.to_owned())))?;
    source.execute("VACUUM INTO ?1", [target]).map_err(|cause| unusable(from, cause))?;
    let copy = database::connect(to, &tuning).map_err(|cause| unusable(to, cause))?;
    let verdict: String =
        copy.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(|cause| unusable(to, cause))?;
    if verdict != "ok" {
        return Err(StoreOpenError::File { path: to.to_owned(), cause: verdict.into() });
    }
    drop(copy);
    let synced = fs::File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|cause| StoreOpenError::File { path: to.to_owned(), cause: cause.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{accounts::Accounts, sqlite::accounts::SqliteAccounts};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_copy_has_what_the_original_has_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("chat.db"), dir.path().join("copy.db"));
        let original = SqliteAccounts::open(&from).unwrap();
        original.seed_demo().unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        let copied = SqliteAccounts::open(&to).unwrap();
        assert!(copied.by_email("alice@propromo.example").unwrap().is_some());
    }

    #[test]
    fn a_file_that_is_no_database_is_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("log.db");
        fs::write(&from, "certainly not a database, whatever its name says".repeat(100)).unwrap();
        let error = copy(&from, &dir.path().join("copy.db")).unwrap_err().to_string();
        assert!(error.contains("log.db"), "{error}");
    }

    #[test]
    fn nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("chat.db"), dir.path().join("copy.db"));
        SqliteAccounts::open(&from).unwrap();
        fs::write(&to, "something else").unwrap();
        assert!(copy(&from, &to).is_err());
        assert_eq!(fs::read_to_string(&to).unwrap(), "something else");
    }
}
