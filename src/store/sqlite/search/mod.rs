//! Search in the embedded store: an index of words in a separate file, `search.db`, that follows the log.
//!
//! A thread reads what was added to the log since its last round, and brings the index up to date: messages, edits and
//! deletions, in the order of each room. No commit of the log waits for it. Its position is written in the same
//! transaction, so after a crash it goes on where it was, and an old store is read from its beginning. A file that
//! can't be used is made again.
//!
//! The thread takes a small share of one core, whatever the load: under a flood the index falls behind, and not the
//! chat. Rooms take turns, so a room that floods delays its own messages most. What the log has trimmed by then is
//! never indexed.
//!
//! Deleted messages leave the file (`index`): a few one by one, many together by a merge of the whole index. What SQLite
//! leaves of them is overwritten afterwards. They leave before anything else is added, and only rooms that the log has
//! noted are looked at. So a task that erases waits neither for what others have said nor for their rooms.
//!
//! A search looks through one stretch of its room at a time (`stretches`), the newest first. When its time is over it
//! answers with what it has.

mod follower;
mod index;
mod stretches;
#[cfg(test)]
mod tests;
mod waiting;

use super::{
    database::{self, DiskSync, Pool, Tuning},
    error::{StoreOpenError, failed},
    log::{SqliteLog, ids},
    slack::Slack,
};
use crate::{
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        log::MessageLog,
        search::{Found, Query, Search},
    },
    vital,
};
use crossbeam_channel::{Sender, bounded};
use follower::Follower;
use index::{Index, STORE, room_number};
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use std::{
    error::Error,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use stretches::Stretch;
use waiting::{Extent, Waiting, Work};

const STEPS: &[M<'static>] = &[
    M::up(include_str!("../schema/search-1.sql")),
    M::up(include_str!("../schema/search-2.sql")),
    M::up(include_str!("../schema/search-3.sql")),
    M::up(include_str!("../schema/search-4.sql")),
];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// Files of earlier versions have another index; no part of it is used.
const FIRST_LIKE_THIS: u32 = 4;

const WRITING: Tuning = Tuning {
    sync: DiskSync::Checkpoint,
    autocheckpoint: 2000,
    cache_kib: 2048,
    query_only: false,
    busy: database::BUSY,
};

/// How many stretches are listed at a time.
const LISTED: usize = 64;

/// How long a caller waits for the index while it makes no progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// The index of one process.
pub struct SqliteSearch {
    log: Arc<SqliteLog>,
    readers: Pool,
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    waiting: Waiting,
    thread: Option<JoinHandle<()>>,
    /// Closed after all connections.
    _handle: Arc<File>,
}

impl SqliteSearch {
    /// Opens the file, or makes it, and begins to follow the log.
    pub fn open(path: &Path, log: Arc<SqliteLog>) -> Result<SqliteSearch, StoreOpenError> {
        if database::version(path).is_some_and(|version| (1..FIRST_LIKE_THIS).contains(&version)) {
            tracing::info!(
                "the search index has a new form; it is made anew from the log, and meanwhile less is found"
            );
            remove(path)?;
        }
        if let Err(error) = database::prepare(path, &MIGRATIONS, STEPS.len() as u32) {
            tracing::warn!(
                error = &error as &dyn Error,
                "the search index can't be used; it is made anew from the log"
            );
            remove(path)?;
            database::prepare(path, &MIGRATIONS, STEPS.len() as u32)?;
        }
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        let slack =
            Slack::open(path).map_err(|cause| StoreOpenError::File { path: path.to_owned(), cause: cause.into() })?;
        let _handle = slack.handle();
        let index = Index::of(database::connect(path, &WRITING).map_err(unusable)?, slack).map_err(unusable)?;
        let readers = database::pool(path, Tuning { query_only: true, ..WRITING })?;
        let (stop, stopped) = bounded(0);
        let (wanted, asked) = bounded(0);
        let work = Arc::new(Work::default());
        let (turn, giving_way) = (follower::TURN, None);
        let follower = Follower { log: log.clone(), index, stopped, asked, work: work.clone(), turn, giving_way };
        let thread = vital::spawn("search", move || follower.run())
            .map_err(|cause| StoreOpenError::Thread { name: "search", cause })?;
        let waiting = Waiting { wanted, work, patience: PATIENCE };
        Ok(SqliteSearch { log, readers, stop: Some(stop), waiting, thread: Some(thread), _handle })
    }

    /// The stretches of a room with messages before this key, newest first.
    fn stretches(&self, room: &RoomName, before: i64) -> Result<Vec<Stretch>, StoreError> {
        self.read(|file| match room_number(file, room)? {
            Some(room) => stretches::before(file, room, before, LISTED),
            None => Ok(Vec::new()),
        })
    }

    /// The keys and tails of messages that a stretch has for a query, newest first.
    fn look_up(
        &self,
        stretch: Stretch,
        query: &Query,
        before: i64,
        limit: usize,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        self.read(|file| {
            file.prepare_cached(
                "SELECT rowid, tail FROM messages WHERE messages MATCH ?1 AND rowid < ?2 ORDER BY rowid DESC LIMIT ?3",
            )?
            .query_map((stretches::expression(stretch.id, query), before, limit as i64), |row| row.try_into())?
            .collect()
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        const WHAT: &str = "be searched";
        let connection = self.readers.get().map_err(failed(STORE, WHAT))?;
        work(&connection).map_err(failed(STORE, WHAT))
    }

    /// Waits until everything is in the index that is in the log.
    #[cfg(test)]
    pub fn follow_all(&self) -> Result<(), StoreError> {
        self.wait(Extent::All)
    }

    fn wait(&self, extent: Extent) -> Result<(), StoreError> {
        self.waiting.wait(extent).unwrap_or_else(|| Err(failed(STORE, "follow the log in time")("it is busy")))
    }
}

impl Search for SqliteSearch {
    fn search(
        &self,
        room: &RoomName,
        query: &Query,
        before: Option<MessageId>,
        limit: usize,
        until: Instant,
    ) -> Result<Found, StoreError> {
        let mut before = before.map_or(i64::MAX, ids::key);
        let mut found = Found::default();
        loop {
            let stretches = self.stretches(room, before)?;
            let is_last = stretches.len() < LISTED;
            for stretch in stretches {
                loop {
                    let page = self.look_up(stretch, query, before, limit)?;
                    let is_all = page.len() < limit;
                    for (key, tail) in page {
                        before = key;
                        let id = ids::join(key, tail);
                        // It may have been deleted or edited since it was indexed, so the log decides.
                        let message = self.log.message(room, id)?.filter(|message| query.matches(&message.text));
                        if let Some(message) = message
                            && !found.push(message, limit)
                        {
                            return Ok(found);
                        }
                    }
                    if is_all {
                        break;
                    }
                }
                before = ids::key(stretch.first);
                if Instant::now() >= until {
                    return Ok(found.cut_short(stretch.first));
                }
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        self.wait(Extent::Losses)
    }
}

impl Drop for SqliteSearch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It fails only if the thread panicked, which the panic hook has already logged.
            let _ = thread.join();
        }
    }
}

/// Removes the index, so that the next start makes it anew from the log.
pub(super) fn remove(path: &Path) -> Result<(), StoreOpenError> {
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let file = PathBuf::from(file);
        match fs::remove_file(&file) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreOpenError::File { path: file, cause: cause.into() });
            }
            _ => {}
        }
    }
    Ok(())
}
