//! `DATA_DIR`: made private, and owned by one process at a time.

use super::error::StoreOpenError;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The data directory, held until this is dropped, or the process ends in any way.
///
/// The caches and the order of ids are right only with one writing process; SQLite alone would allow two.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock. The file stays: removing it would let two processes lock two files.
    _lock: File,
}

impl DataDir {
    /// Makes the directory (mode 0700) if there is none, and locks it.
    ///
    /// Fails at once, naming the holder, if another process has it.
    pub fn claim(path: &Path) -> Result<DataDir, StoreOpenError> {
        let unusable = |cause: io::Error| StoreOpenError::Directory { path: path.to_owned(), cause };
        make(path)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(StoreOpenError::InUse { path: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(error) => return Err(unusable(error)),
        }
        lock.set_len(0).map_err(unusable)?;
        writeln!(lock, "{}", std::process::id()).map_err(unusable)?;
        Ok(DataDir { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the directory (mode 0700) if there is none, without locking it: enough for an admin command, which may run
/// first.
pub fn make(path: &Path) -> Result<(), StoreOpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| StoreOpenError::Directory { path: path.to_owned(), cause })
}

/// The id that the process with the lock wrote into the file; `None` until it has.
fn holder(lock: &mut File) -> Option<u32> {
    let mut pid = String::new();
    lock.take(32).read_to_string(&mut pid).ok()?;
    pid.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_owner_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let _first = DataDir::claim(dir.path()).unwrap();
        let refused = DataDir::claim(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&dir.path().display().to_string()), "{refused}");
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    }

    #[test]
    fn a_directory_that_was_let_go_can_be_claimed_again() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::claim(dir.path()).unwrap());
        DataDir::claim(dir.path()).unwrap();
    }

    #[test]
    fn a_new_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let _claimed = DataDir::claim(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, "").unwrap();
        let error = DataDir::claim(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
