//! Opens a SQLite file: creates it private, migrates it, and sets every option by name.

use super::error::StoreOpenError;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};
use rusqlite_migration::Migrations;
use std::{
    cmp::Ordering,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How one connection uses its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    pub sync: DiskSync,
    /// WAL pages after which a commit also checkpoints; 0: another thread checkpoints.
    pub autocheckpoint: u32,
    /// Size of the page cache, in KiB.
    pub cache_kib: u32,
    pub query_only: bool,
    /// How long to wait for another connection's lock.
    pub busy: Duration,
}

/// When the file is synced to disk (`PRAGMA synchronous`).
///
/// There is no `OFF`: it would not be faster where it matters (a commit is a `write` either way), and a power failure
/// could then leave an unreadable file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskSync {
    /// At checkpoints. A commit is in the kernel's page cache, so it survives a killed process. A power failure may
    /// lose the last commits, but never damages the file.
    Checkpoint,
    /// At each commit.
    Commit,
}

/// What a message that was echoed survives in the embedded store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives a crash or kill of the server.
    Process,
    /// Survives a power failure: one sync per group commit.
    Power,
}

impl From<Durability> for DiskSync {
    fn from(durability: Durability) -> DiskSync {
        match durability {
            Durability::Process => DiskSync::Checkpoint,
            Durability::Power => DiskSync::Commit,
        }
    }
}

/// Makes the file if there is none (mode 0600; SQLite gives its WAL the same), and brings its tables up to date.
pub(super) fn prepare(path: &Path, migrations: &Migrations<'_>, latest: u32) -> Result<(), StoreOpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(StoreOpenError::File { path: path.to_owned(), cause: error.into() }),
    }
    // Two processes (a server and an admin command) may start on a new file at once. SQLite does not wait for a lock
    // when it turns WAL on, so this does.
    let deadline = Instant::now() + BUSY;
    loop {
        match bring_up_to_date(path, migrations, latest) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            outcome => return outcome,
        }
    }
}

/// How long to wait for another process that has locked the file.
pub(super) const BUSY: Duration = Duration::from_secs(5);

fn is_busy(error: &StoreOpenError) -> bool {
    let StoreOpenError::File { cause, .. } = error else { return false };
    let cause = cause.downcast_ref::<rusqlite::Error>();
    cause.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::DatabaseBusy)
}

fn bring_up_to_date(path: &Path, migrations: &Migrations<'_>, latest: u32) -> Result<(), StoreOpenError> {
    let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
    let tuning =
        Tuning { sync: DiskSync::Commit, autocheckpoint: 1000, cache_kib: 2048, query_only: false, busy: BUSY };
    let mut connection = connect(path, &tuning).map_err(unusable)?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    // SQLite opens a file that it can't write read-only, and fails at the first change.
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(unusable)? {
        let cause = "it can't be written; give this user a file system and a directory that can".into();
        return Err(StoreOpenError::File { path: path.to_owned(), cause });
    }
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unusable)?;
    if version > latest {
        return Err(StoreOpenError::TooNew { path: path.to_owned(), version, latest });
    }
    connection.pragma_update(None, "page_size", 4096).map_err(unusable)?;
    // A migration may delete what somebody said.
    wipe_what_is_deleted(&connection).map_err(unusable)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(unusable)?;
    if mode != "wal" {
        return Err(StoreOpenError::File { path: path.to_owned(), cause: "its file system can't do WAL".into() });
    }
    // When two processes start at once, the second fails because the tables exist already; on its second try nothing is
    // left to do.
    migrations
        .to_latest(&mut connection)
        .or_else(|_| migrations.to_latest(&mut connection))
        .map_err(|cause| StoreOpenError::Migration { path: path.to_owned(), cause: Box::new(cause) })
}

/// The version of a file's tables; `None` if there is no such file, or it can't be read.
pub(super) fn version(path: &Path) -> Option<u32> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = Connection::open_with_flags(path, flags).ok()?;
    file.pragma_query_value(None, "user_version", |row| row.get(0)).ok()
}

/// Opens a file for reading only; it must have the tables of version `expected`.
pub(super) fn look_into(path: &Path, expected: u32) -> Result<Connection, StoreOpenError> {
    let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(unusable)?;
    connection.busy_timeout(BUSY).map_err(unusable)?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unusable)?;
    match version.cmp(&expected) {
        Ordering::Equal => Ok(connection),
        Ordering::Greater => Err(StoreOpenError::TooNew { path: path.to_owned(), version, latest: expected }),
        Ordering::Less => Err(StoreOpenError::TooOld { path: path.to_owned() }),
    }
}

/// Opens a file that [`prepare`] has made ready.
pub(super) fn connect(path: &Path, tuning: &Tuning) -> rusqlite::Result<Connection> {
    // NO_MUTEX: Rust ensures that one thread at a time uses a `Connection`.
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(tuning.busy)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Otherwise SQLite parses and plans a statement with `LIMIT ?` again for each value, although it is prepared.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let synchronous = match tuning.sync {
        DiskSync::Checkpoint => "NORMAL",
        DiskSync::Commit => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "cache_size", -i64::from(tuning.cache_kib))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "query_only", tuning.query_only)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A read error in a mapped file is a signal that kills the process, not an error code.
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(())).or_else(no_rows)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", tuning.autocheckpoint, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    Ok(connection)
}

/// Bytes of the file in use; SQLite reuses the others.
pub(super) fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| connection.query_row(pragma, (), |row| row.get::<_, i64>(0));
    let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
    Ok(u64::try_from(pages * number("PRAGMA page_size")?).unwrap_or(0))
}

/// Makes SQLite overwrite what this connection deletes.
pub(super) fn wipe_what_is_deleted(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))
}

fn no_rows(error: rusqlite::Error) -> rusqlite::Result<()> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        error => Err(error),
    }
}

pub(super) type Pool = r2d2::Pool<File>;

/// A file that a pool opens connections to.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    tuning: Tuning,
}

/// Connections of a pool. SQLite reads from the page cache, so more would only wait for the cores.
pub const READERS: u32 = 4;

pub(super) fn pool(path: &Path, tuning: Tuning) -> Result<Pool, StoreOpenError> {
    r2d2::Pool::builder()
        .max_size(READERS)
        .min_idle(Some(1))
        .connection_timeout(Duration::from_secs(5))
        .test_on_check_out(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .build(File { path: path.to_owned(), tuning })
        .map_err(|cause| StoreOpenError::File { path: path.to_owned(), cause: cause.into() })
}

impl r2d2::ManageConnection for File {
    type Connection = Connection;
    type Error = rusqlite::Error;

    fn connect(&self) -> rusqlite::Result<Connection> {
        connect(&self.path, &self.tuning)
    }

    fn is_valid(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.execute_batch("SELECT 1")
    }

    /// A connection that returns inside a transaction failed to roll it back.
    fn has_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_autocommit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;
    use rusqlite_migration::M;
    use std::os::unix::fs::PermissionsExt;

    const ONE: &[M<'static>] = &[M::up("CREATE TABLE t (x);")];
    const ONE_STEP: Migrations<'static> = Migrations::from_slice(ONE);

    #[test]
    fn a_new_file_and_its_wal_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        prepare(&path, &ONE_STEP, 1).unwrap();
        let pool = pool(&path, TUNING).unwrap();
        pool.get().unwrap().execute("INSERT INTO t VALUES (1)", ()).unwrap();
        for file in ["a.db", "a.db-wal", "a.db-shm"] {
            let mode = dir.path().join(file).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_statement_with_a_limit_is_planned_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        prepare(&path, &ONE_STEP, 1).unwrap();
        let connection = connect(&path, &TUNING).unwrap();
        let mut statement = connection.prepare("SELECT x FROM t LIMIT ?1").unwrap();
        for limit in 1..5 {
            assert_eq!(statement.query_map([limit], |_| Ok(())).unwrap().count(), 0);
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn a_file_of_a_newer_program_is_refused_with_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        prepare(&path, &ONE_STEP, 1).unwrap();
        connect(&path, &TUNING).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let error = prepare(&path, &ONE_STEP, 1).unwrap_err();
        assert!(matches!(error, StoreOpenError::TooNew { version: 7, latest: 1, .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        std::fs::write(&path, "certainly not a database, whatever its name says".repeat(100)).unwrap();
        let error = prepare(&path, &ONE_STEP, 1).unwrap_err().to_string();
        assert!(error.contains("a.db") && error.contains("not a database"), "{error}");
    }

    #[test]
    fn many_processes_may_start_on_a_new_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| prepare(&path, &ONE_STEP, 1))).collect();
            for start in starts {
                start.join().unwrap().unwrap();
            }
        });
    }

    const TUNING: Tuning =
        Tuning { sync: DiskSync::Checkpoint, autocheckpoint: 0, cache_kib: 1024, query_only: false, busy: BUSY };
}
