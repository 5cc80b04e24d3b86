//! The one connection that writes to the message log.

use super::{
    apply::Rooms,
    authors::{self, Old},
    change,
    chores::Chores,
    ids,
    shrunk::{self, Shrunk},
    sizes::{Sizes, size},
};
use crate::store::{
    journal::Record,
    sqlite::{
        database::{self, Tuning},
        slack,
    },
};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// WAL pages, as estimated, after which the keeper is asked for a checkpoint: 8 MiB. A page that several transactions
/// changed is copied once, and a checkpoint costs two syncs however short it is. After a kill the next start reads it all.
const CHECKPOINT_PAGES: usize = 2048;

/// Messages deleted by one statement while trimming.
const TRIM_STEP: i64 = 64;

pub(super) struct Writer {
    path: PathBuf,
    tuning: Tuning,
    /// `None` after an error that a new connection may cure.
    connection: Option<Connection>,
    rooms: Rooms,
    /// WAL pages since the last request for a checkpoint, roughly.
    pages: usize,
    /// What each room takes, once that is needed.
    pub sizes: Option<Sizes>,
    chores: Arc<Chores>,
}

impl Writer {
    /// `keep`: messages kept per room.
    ///
    /// Opens its files now: later there may be no free file descriptors.
    pub fn open(path: PathBuf, tuning: Tuning, keep: Option<u64>, chores: Arc<Chores>) -> rusqlite::Result<Writer> {
        let mut connection = None;
        // Only a write opens the write-ahead log.
        begin(&mut connection, &path, &tuning)?.commit()?;
        let rooms = Rooms::new(keep.map(|keep| (keep / 10).max(1)));
        Ok(Writer { path, tuning, connection, rooms, pages: 0, sizes: None, chores })
    }

    /// Applies journal records to the tables, in one transaction. Until the time `giving_way`, threads that wait for its
    /// core get it soon.
    pub fn apply(&mut self, records: &[Arc<Record>], giving_way: Option<Instant>) -> rusqlite::Result<()> {
        let Writer { path, tuning, connection, rooms, .. } = self;
        let tx = begin(connection, path, tuning);
        let applied = tx.and_then(|tx| {
            let applied = rooms.apply(&tx, records, giving_way)?;
            tx.commit()?;
            Ok(applied)
        });
        let applied = applied.inspect_err(|error| self.recover(error))?;
        if let Some(sizes) = &mut self.sizes {
            applied.grown.iter().for_each(|(room, bytes)| sizes.add(*room, *bytes));
        }
        self.chores.trim(&applied.overgrown);
        if applied.forgotten {
            self.chores.sweep_forgotten();
        }
        if applied.deleted {
            self.chores.wipe();
        }
        self.count_pages(applied.pages);
        Ok(())
    }

    /// Deletes messages of a room, oldest first, up to the key `through`, but stops after about `budget`. Returns
    /// whether all are gone.
    pub fn trim(&mut self, room: i64, through: i64, budget: Duration) -> rusqlite::Result<bool> {
        let started = Instant::now();
        let is_weighing = self.sizes.is_some();
        let (done, bytes) = self.transaction(|tx| {
            // Only the step's last message is looked up.
            let mut step = tx.prepare_cached(
                "SELECT rows, last, coalesce(tail, 0) FROM
                 (SELECT count(*) AS rows, max(key) AS last FROM
                  (SELECT key FROM by_room WHERE room = ?1 AND key <= ?2 ORDER BY key LIMIT ?3))
                 LEFT JOIN messages ON key = last",
            )?;
            let mut weigh = tx.prepare_cached(concat!(
                "SELECT coalesce(sum(",
                size!(),
                "), 0) FROM messages WHERE key IN (SELECT key FROM by_room WHERE room = ?1 AND key <= ?2)"
            ))?;
            let mut delete = tx.prepare_cached(
                "DELETE FROM messages WHERE key IN (SELECT key FROM by_room WHERE room = ?1 AND key <= ?2)",
            )?;
            let mut delete_reactions = tx.prepare_cached(
                "DELETE FROM reactions WHERE of IN (SELECT key FROM by_room WHERE room = ?1 AND key <= ?2)",
            )?;
            let mut delete_entries = tx.prepare_cached("DELETE FROM by_room WHERE room = ?1 AND key <= ?2")?;
            let (mut trimmed, mut bytes) = (None, 0);
            let done = loop {
                let (rows, last, tail): (i64, Option<i64>, i64) =
                    step.query_row((room, through, TRIM_STEP), |row| row.try_into())?;
                if let Some(key) = last {
                    if is_weighing {
                        bytes += weigh.query_row((room, key), |row| row.get::<_, i64>(0))?.unsigned_abs();
                    }
                    delete.execute((room, key))?;
                    delete_reactions.execute((room, key))?;
                    delete_entries.execute((room, key))?;
                    trimmed = Some(ids::join(key, tail));
                }
                if rows < TRIM_STEP {
                    break true;
                }
                if started.elapsed() >= budget {
                    break false;
                }
            };
            if let Some(id) = trimmed {
                tx.prepare_cached("UPDATE rooms SET trimmed = ?2 WHERE id = ?1")?.execute((room, id.0.as_bytes()))?;
                shrunk::note(tx, room)?;
            }
            Ok((done, bytes))
        })?;
        self.lost(room, bytes);
        Ok(done)
    }

    /// Deletes changes of a room, oldest first, up to the key `through`, with the rows of messages that they deleted,
    /// but stops after about `budget`. Returns whether all are gone.
    pub fn trim_changes(&mut self, room: i64, through: i64, budget: Duration) -> rusqlite::Result<bool> {
        let started = Instant::now();
        let (done, bytes) = self.transaction(|tx| {
            let (mut trimmed, mut bytes) = (None, 0);
            let done = loop {
                let Some((last, freed)) = change::trim(tx, room, through, TRIM_STEP)? else { break true };
                trimmed = Some(last);
                bytes += freed.unsigned_abs();
                if started.elapsed() >= budget {
                    break false;
                }
            };
            if let Some(key) = trimmed {
                tx.prepare_cached("UPDATE rooms SET changes_trimmed = ?2 WHERE id = ?1")?.execute((room, key))?;
            }
            Ok((done, bytes))
        })?;
        self.lost(room, bytes);
        Ok(done)
    }

    /// Removes the row of a forgotten room that has no messages left.
    pub fn remove_room(&mut self, room: i64) -> rusqlite::Result<()> {
        self.transaction(|tx| {
            slack::set_due(tx, true)?;
            authors::forget(tx, room)?;
            tx.execute("DELETE FROM rooms WHERE id = ?1 AND name IS NULL", [room]).map(drop)
        })?;
        // Its number may become another room's.
        self.rooms.clear_authors();
        if let Some(sizes) = &mut self.sizes {
            sizes.forget(room);
        }
        Ok(())
    }

    /// Removes the row of a room that has nothing left, so that it takes no space. The next message makes it anew.
    /// Returns whether it did.
    pub fn remove_if_empty(&mut self, room: i64) -> rusqlite::Result<bool> {
        let removed = self.transaction(|tx| {
            let removed = tx
                .prepare_cached(
                    "DELETE FROM rooms WHERE id = ?1 AND name IS NOT NULL
                     AND NOT EXISTS (SELECT 1 FROM by_room WHERE room = ?1)
                     AND NOT EXISTS (SELECT 1 FROM changes WHERE room = ?1)",
                )?
                .execute([room])?;
            if removed > 0 {
                authors::forget(tx, room)?;
            }
            Ok(removed > 0)
        })?;
        if removed {
            // Its number may become another room's.
            self.rooms.clear();
            if let Some(sizes) = &mut self.sizes {
                sizes.forget(room);
            }
        }
        Ok(removed)
    }

    /// Removes the notes that these rooms have lost something, unless they have lost more meanwhile.
    pub fn forget_shrunk(&mut self, rooms: &[Shrunk]) -> rusqlite::Result<()> {
        self.transaction(|tx| shrunk::forget(tx, rooms))
    }

    /// Notes whose these messages are that are older than the table of authors.
    pub fn note_old(&mut self, old: &Old) -> rusqlite::Result<()> {
        let pages = self.transaction(|tx| authors::note_old(tx, old))?;
        self.count_pages(pages);
        Ok(())
    }

    /// Notes whether copies of deleted rows may be left in the file.
    pub fn set_sweep_due(&mut self, due: bool) -> rusqlite::Result<()> {
        self.transaction(|tx| slack::set_due(tx, due))
    }

    /// Makes the connection read pages from the file again.
    pub fn forget_pages(&self) -> rusqlite::Result<()> {
        self.connection.as_ref().map_or(Ok(()), slack::forget_pages)
    }

    /// Drops everything that an interrupted transaction may have left wrong.
    pub fn reset(&mut self) {
        self.connection = None;
        self.rooms.clear();
    }

    #[cfg(test)]
    pub fn connection(&mut self) -> &Connection {
        self.connection.as_ref().expect("it was opened")
    }

    /// Notes what was deleted from a room. Each of its pages was overwritten, in the WAL.
    fn lost(&mut self, room: i64, bytes: u64) {
        if let Some(sizes) = &mut self.sizes {
            sizes.take(room, bytes);
            self.count_pages((bytes / 4096) as usize);
        }
    }

    /// Notes by about how many pages the WAL has grown.
    fn count_pages(&mut self, pages: usize) {
        self.pages += pages;
        if self.pages >= CHECKPOINT_PAGES {
            self.pages = 0;
            self.chores.checkpoint();
        }
    }

    fn transaction<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let tx = begin(&mut self.connection, &self.path, &self.tuning);
        let outcome = tx.and_then(|tx| {
            let result = work(&tx)?;
            tx.commit()?;
            Ok(result)
        });
        outcome.inspect_err(|error| self.recover(error))
    }

    /// The transaction was rolled back, perhaps with the row of a room that is remembered. Unless the cause is plainly
    /// the disk or another process, the writer gets a new connection.
    fn recover(&mut self, error: &rusqlite::Error) {
        self.rooms.clear();
        if !matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)) {
            self.connection = None;
        }
    }
}

/// A panic while the lock was held may have interrupted a transaction, so the writer is reset.
pub(super) fn lock_writer(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(|poisoned| {
        let mut guard = poisoned.into_inner();
        guard.reset();
        writer.clear_poison();
        guard
    })
}

fn begin<'c>(
    connection: &'c mut Option<Connection>,
    path: &Path,
    tuning: &Tuning,
) -> rusqlite::Result<Transaction<'c>> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let new = database::connect(path, tuning)?;
            database::wipe_what_is_deleted(&new)?;
            connection.insert(new)
        }
    };
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}
