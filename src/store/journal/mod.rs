//! The journal: where what is said is written first, one checked write a batch.
//!
//! It is a directory of segments, files of bounded size that are only appended to. What stands in them is put into the
//! store behind it by and by, and a segment whose records are all there is removed. After a crash the rest is
//! replayed.
//!
//! - A write that has returned outlives a killed process; with `sync` it is told to the disk too, and outlives a power
//!   failure.
//! - A write that failed leaves nothing: the file is cut to what it was before anything else is written. Until that is
//!   done, what failed may come back with a crash.
//! - Each record has a checksum of its own (`record`), so what a crash tore or a disk spoilt costs that record alone.

mod record;
mod segment;
#[cfg(test)]
pub(crate) mod tests;

pub use record::{Changed, Outcome, Record, Said, What};

use segment::Newer;
use std::{
    collections::VecDeque,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// From this size on a segment is not appended to any more: it has at most a batch more.
const SEGMENT: u64 = 4 << 20;

const SUFFIX: &str = "journal";

/// The journal of one process, which is the only one to write there.
pub struct Journal {
    directory: PathBuf,
    /// Whether a write is told to the disk before it counts.
    sync: bool,
    /// The number of the next segment.
    next: u64,
    /// Appended to. `None` until it is needed, or after it could not be made.
    current: Option<Current>,
    /// Those before it, oldest first.
    sealed: VecDeque<Sealed>,
    /// The batch as bytes; kept for its memory.
    buffer: Vec<u8>,
}

struct Current {
    file: File,
    path: PathBuf,
    marker: u32,
    /// Bytes that count.
    length: u64,
    /// Whether a failed write may have left bytes behind these.
    untidy: bool,
    /// The keys of its first and its last record, if it has any.
    keys: Option<(i64, i64)>,
}

/// A batch that is not in the journal.
#[derive(Debug)]
pub struct NotWritten {
    pub cause: io::Error,
    /// It is there for now, and a crash would bring it back, until the journal is [tidy](Journal::tidy).
    pub is_left: bool,
}

impl From<io::Error> for NotWritten {
    fn from(cause: io::Error) -> NotWritten {
        NotWritten { cause, is_left: false }
    }
}

/// A segment that gets nothing more.
struct Sealed {
    path: PathBuf,
    /// The keys of its first and its last record.
    first: i64,
    last: i64,
}

/// What a journal holds.
#[derive(Default)]
pub struct Replay {
    /// In the order in which they were written, each once.
    pub records: Vec<Record>,
    /// Bytes that could not be read, by file and place.
    pub damaged: Vec<Damage>,
    /// Bytes that were being written when the last process ended.
    pub torn: usize,
}

pub struct Damage {
    pub path: PathBuf,
    pub at: usize,
    pub bytes: usize,
}

/// A journal that can't be used.
#[derive(Debug)]
pub enum JournalError {
    Io {
        path: PathBuf,
        cause: io::Error,
    },
    /// A newer program wrote it, in this version.
    TooNew {
        path: PathBuf,
        version: u32,
    },
}

/// The version of the segments that are written here.
pub const VERSION: u32 = segment::VERSION;

impl Journal {
    /// Opens the directory, made (mode 0700) if need be, and reads what is there.
    pub fn open(directory: &Path, sync: bool) -> Result<(Journal, Replay), JournalError> {
        let at = |path: &Path, cause| JournalError::Io { path: path.to_owned(), cause };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|cause| at(directory, cause))?;
        let (replay, sealed) = read_segments(directory)?;
        let next = sealed.back().and_then(|last| number_of(&last.path)).map_or(0, |number| number + 1);
        let journal =
            Journal { directory: directory.to_owned(), sync, next, current: None, sealed, buffer: Vec::new() };
        Ok((journal, replay))
    }

    /// Writes these, all or none, behind what is there. Their keys are greater than all before.
    pub fn append<'r>(&mut self, records: impl IntoIterator<Item = &'r Record>) -> Result<(), NotWritten> {
        if self.current.as_ref().is_some_and(|current| current.length >= SEGMENT) {
            self.seal();
        }
        let sync = self.sync;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let current = self.current()?;
        let mut keys = current.keys;
        for record in records {
            record::write(record, current.marker, &mut buffer);
            keys = Some((keys.map_or(record.key, |(first, _)| first), record.key));
        }
        let written = current.write(&buffer, sync);
        if written.is_ok() {
            current.length += buffer.len() as u64;
            current.keys = keys;
        }
        // A batch of large messages does not keep its memory.
        if buffer.capacity() <= SEGMENT as usize {
            self.buffer = buffer;
        }
        written
    }

    /// Whether a batch could be written now: writes, where the next one will.
    pub fn probe(&mut self) -> io::Result<()> {
        let sync = self.sync;
        let current = self.current()?;
        current.write(&record::nothing(current.marker), sync).map_err(|failed| failed.cause)
    }

    /// Makes sure that a write that failed has left nothing.
    pub fn tidy(&mut self) -> io::Result<()> {
        let sync = self.sync;
        self.current.as_mut().filter(|current| current.untidy).map_or(Ok(()), |current| current.tidy(sync))
    }

    /// Lets what comes go to another segment, so that the one up to now can be removed as a whole. Does nothing if
    /// the segment has no records.
    pub fn seal(&mut self) {
        // What a failed write has left is cut off only where the next one goes.
        if self.tidy().is_err() {
            return;
        }
        if let Some(Current { path, keys: Some((first, last)), .. }) =
            self.current.take_if(|current| current.keys.is_some())
        {
            self.sealed.push_back(Sealed { path, first, last });
        }
    }

    /// Whether there are segments to be removed once their records are elsewhere.
    pub fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// The segments that hold nothing after `applied`; the caller removes them ([`remove`]), or [gives them
    /// back](Journal::put_back).
    pub fn take_applied(&mut self, applied: i64) -> Vec<PathBuf> {
        if self.current.as_ref().is_some_and(|current| current.keys.is_some_and(|(_, last)| last <= applied)) {
            self.seal();
        }
        let count = self.sealed.iter().take_while(|segment| segment.last <= applied).count();
        self.sealed.drain(..count).map(|segment| segment.path).collect()
    }

    /// Gives back what could not be removed.
    pub fn put_back(&mut self, path: PathBuf) {
        self.sealed.push_front(Sealed { path, first: i64::MIN, last: i64::MIN });
    }

    /// The key of the oldest record that is in a segment.
    pub fn oldest(&self) -> Option<i64> {
        let current = self.current.as_ref().and_then(|current| current.keys);
        self.sealed.front().map(|sealed| sealed.first).or(current.map(|(first, _)| first))
    }

    /// The segment to append to, made if there is none.
    fn current(&mut self) -> io::Result<&mut Current> {
        if self.current.is_none() {
            let current = Current::make(&self.directory, self.next, self.sync)?;
            self.next += 1;
            self.current = Some(current);
        }
        self.current.as_mut().ok_or_else(|| io::Error::other("no segment"))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(empty) = self.current.take_if(|current| current.length == segment::HEAD as u64) {
            // It would be read as nothing at the next start.
            let _ = fs::remove_file(empty.path);
        }
    }
}

impl Current {
    fn make(directory: &Path, number: u64, sync: bool) -> io::Result<Current> {
        let path = directory.join(format!("{number:016x}.{SUFFIX}"));
        // One that could not be finished before has no records.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let marker = rand::random();
        file.write_all_at(&segment::head(marker), 0)?;
        if sync {
            file.sync_all()?;
            // Else the file could be without a name after a power failure.
            File::open(directory)?.sync_all()?;
        }
        Ok(Current { file, path, marker, length: segment::HEAD as u64, untidy: false, keys: None })
    }

    /// Writes behind what counts.
    fn write(&mut self, bytes: &[u8], sync: bool) -> Result<(), NotWritten> {
        if self.untidy {
            self.tidy(sync)?;
        }
        let written = self.file.write_all_at(bytes, self.length);
        let written = written.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) });
        written.map_err(|cause| {
            self.untidy = true;
            // Else it is done before the next write.
            NotWritten { cause, is_left: self.tidy(sync).is_err() }
        })
    }

    fn tidy(&mut self, sync: bool) -> io::Result<()> {
        self.file.set_len(self.length)?;
        if sync {
            // Else the old length could come back after a power failure, and what failed with it.
            self.file.sync_data()?;
        }
        self.untidy = false;
        Ok(())
    }
}

/// Reads a journal without changing it, also one that is in use. What is removed meanwhile is left out: it is in the
/// store behind, for who looks there afterwards.
pub fn read(directory: &Path) -> Result<Replay, JournalError> {
    Ok(read_segments(directory)?.0)
}

/// Removes segments; gives back those that are still there, and why.
pub fn remove(paths: Vec<PathBuf>) -> Vec<(PathBuf, io::Error)> {
    let left = paths.into_iter().map(|path| (fs::remove_file(&path), path));
    left.filter_map(|(removed, path)| match removed {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Some((path, cause)),
        _ => None,
    })
    .collect()
}

fn read_segments(directory: &Path) -> Result<(Replay, VecDeque<Sealed>), JournalError> {
    let (mut replay, mut sealed) = (Replay::default(), VecDeque::new());
    let paths = segments(directory).map_err(|cause| JournalError::Io { path: directory.to_owned(), cause })?;
    let mut last = i64::MIN;
    for path in paths {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(JournalError::Io { path, cause }),
        };
        let content = segment::read(&bytes);
        let content = content.map_err(|Newer(version)| JournalError::TooNew { path: path.clone(), version })?;
        // A last write that was torn is no damage, wherever it is: after a failed write and a crash another segment begins.
        replay.torn += content.torn;
        let gaps = content.gaps.into_iter().map(|(at, bytes)| Damage { path: path.clone(), at, bytes });
        replay.damaged.extend(gaps);
        let first = content.records.first().map_or(last, |first| first.key);
        for record in content.records {
            if record.key > last {
                last = record.key;
                replay.records.push(record);
            }
        }
        sealed.push_back(Sealed { path, first, last });
    }
    Ok((replay, sealed))
}

/// The segments' paths, oldest first. A directory that is not there has none.
fn segments(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbered = Vec::new();
    for entry in entries {
        let path = entry?.path();
        numbered.extend(number_of(&path).map(|number| (number, path)));
    }
    numbered.sort_unstable();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.strip_suffix('.')?;
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok())?
}
