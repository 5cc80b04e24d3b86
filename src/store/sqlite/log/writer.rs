//! The one connection that writes to the message log.

use super::{
    change,
    chores::Chores,
    ids::{self, Ids, unix_millis},
    unindexed::{Entry, Unindexed},
};
use crate::{
    entry::{NewChangeKind, NewEntry, Unchangeable},
    message::{Draft, MessageId, RoomName},
    store::{
        log::Appended,
        sqlite::database::{self, Tuning},
    },
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// WAL pages, as estimated, after which the keeper is asked for a checkpoint: 4 MiB. Commits get slower with a long
/// WAL, and a checkpoint costs two syncs however short it is.
const CHECKPOINT_PAGES: usize = 1024;

/// Rooms whose row is remembered; when there are more, all are forgotten and looked up again.
const KNOWN_ROOMS: usize = 100_000;

/// Messages deleted by one statement while trimming.
const TRIM_STEP: i64 = 64;

pub(super) struct Writer {
    path: PathBuf,
    tuning: Tuning,
    /// `None` after an error that a fresh connection may cure.
    connection: Option<Connection>,
    ids: Ids,
    rooms: HashMap<RoomName, Known>,
    /// How much a room may grow before the keeper looks whether it must be trimmed; `None`: never.
    slack: Option<u64>,
    /// WAL pages since the keeper was last asked for a checkpoint, roughly.
    pages: usize,
    chores: Arc<Chores>,
    unindexed: Arc<Unindexed>,
}

/// What became of a batch.
#[derive(Default)]
struct Outcome {
    appended: Vec<Appended>,
    /// Messages that are new.
    stored: Vec<Entry>,
    /// Messages that are no more.
    deleted: Vec<Entry>,
}

/// What is remembered of a room.
struct Known {
    id: i64,
    /// Messages since the keeper last looked.
    grown: u64,
}

impl Writer {
    /// `last`: the key above which ids begin. `keep`: messages kept a room.
    ///
    /// Opens its files now: later there may be no descriptors left.
    pub fn open(
        path: PathBuf,
        tuning: Tuning,
        last: i64,
        keep: Option<u64>,
        chores: Arc<Chores>,
        unindexed: Arc<Unindexed>,
    ) -> rusqlite::Result<Writer> {
        let mut connection = Some(database::connect(&path, &tuning)?);
        // Only a write opens the write-ahead log.
        begin(&mut connection, &path, &tuning)?.commit()?;
        Ok(Writer {
            path,
            tuning,
            connection,
            ids: Ids::after(last),
            rooms: HashMap::new(),
            slack: keep.map(|keep| (keep / 10).max(1)),
            pages: 0,
            chores,
            unindexed,
        })
    }

    /// Stores a batch in one transaction.
    pub fn append(&mut self, entries: &[NewEntry]) -> rusqlite::Result<Vec<Appended>> {
        let Outcome { appended, stored, deleted } = self.store(entries).inspect_err(|error| self.recover(error))?;
        if self.unindexed.add(&stored, &deleted, self.ids.last())
            && let Err(error) = self.index()
        {
            // The messages are stored, and found without their entries. The next batch tries again.
            tracing::warn!(%error, "new messages could not be indexed");
        }
        Ok(appended)
    }

    /// Gives all messages their entries in `by_room`.
    pub fn index(&mut self) -> rusqlite::Result<()> {
        if self.unindexed.is_empty() {
            return Ok(());
        }
        let (unindexed, last) = (self.unindexed.clone(), self.ids.last());
        let entries = self.transaction(|tx| unindexed.index(tx, last))?;
        unindexed.clear();
        // At most a page for each, half of them in the same as the one before.
        self.count_pages(entries / 2);
        Ok(())
    }

    /// Detaches the room's messages from its name, at once; the keeper deletes them in slices.
    pub fn forget(&mut self, room: &RoomName) -> rusqlite::Result<()> {
        self.rooms.remove(room);
        let last = self.ids.last();
        self.transaction(|tx| {
            tx.execute("INSERT OR REPLACE INTO floor (id, key) VALUES (0, ?1)", [last])?;
            tx.execute("UPDATE rooms SET name = NULL WHERE name = ?1", [room.as_str()])
        })?;
        self.chores.sweep_forgotten();
        Ok(())
    }

    /// Deletes messages of a room, oldest first, up to the key `through`, but stops after about
    /// `budget`; whether all are gone.
    pub fn trim(&mut self, room: i64, through: i64, budget: Duration) -> rusqlite::Result<bool> {
        let started = Instant::now();
        self.index()?;
        self.transaction(|tx| {
            // The step's last message alone is looked up.
            let mut step = tx.prepare_cached(
                "SELECT rows, last, coalesce(tail, 0) FROM
                 (SELECT count(*) AS rows, max(key) AS last FROM
                  (SELECT key FROM by_room WHERE room = ?1 AND key <= ?2 ORDER BY key LIMIT ?3))
                 LEFT JOIN messages ON key = last",
            )?;
            let mut delete = tx.prepare_cached(
                "DELETE FROM messages WHERE key IN (SELECT key FROM by_room WHERE room = ?1 AND key <= ?2)",
            )?;
            let mut delete_reactions = tx.prepare_cached(
                "DELETE FROM reactions WHERE of IN (SELECT key FROM by_room WHERE room = ?1 AND key <= ?2)",
            )?;
            let mut delete_entries = tx.prepare_cached("DELETE FROM by_room WHERE room = ?1 AND key <= ?2")?;
            let mut trimmed = None;
            let done = loop {
                let (rows, last, tail): (i64, Option<i64>, i64) =
                    step.query_row((room, through, TRIM_STEP), |row| row.try_into())?;
                if let Some(key) = last {
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
            }
            Ok(done)
        })
    }

    /// Deletes changes of a room, oldest first, up to the key `through`, and what is left of messages that they deleted;
    /// stops after about `budget`. Answers whether all are gone.
    pub fn trim_changes(&mut self, room: i64, through: i64, budget: Duration) -> rusqlite::Result<bool> {
        let started = Instant::now();
        self.transaction(|tx| {
            let mut trimmed = None;
            let done = loop {
                let last = change::trim(tx, room, through, TRIM_STEP)?;
                trimmed = last.or(trimmed);
                if last.is_none() {
                    break true;
                }
                if started.elapsed() >= budget {
                    break false;
                }
            };
            if let Some(key) = trimmed {
                tx.prepare_cached("UPDATE rooms SET changes_trimmed = ?2 WHERE id = ?1")?.execute((room, key))?;
            }
            Ok(done)
        })
    }

    /// Removes the row of a forgotten room that has no messages left.
    pub fn bury(&mut self, room: i64) -> rusqlite::Result<()> {
        self.transaction(|tx| tx.execute("DELETE FROM rooms WHERE id = ?1 AND name IS NULL", [room]).map(drop))
    }

    /// Forgets everything that a transaction cut short may have left wrong.
    pub fn reset(&mut self) {
        self.connection = None;
        self.rooms.clear();
    }

    #[cfg(test)]
    pub fn connection(&mut self) -> &Connection {
        self.connection.as_ref().expect("a batch was stored before")
    }

    #[cfg(test)]
    pub fn set_last_key(&mut self, key: i64) {
        self.ids = Ids::after(key);
    }

    fn store(&mut self, entries: &[NewEntry]) -> rusqlite::Result<Outcome> {
        let Writer { path, tuning, connection, ids, rooms, slack, chores, .. } = self;
        let now = unix_millis();
        let mut outcome = Outcome { appended: Vec::with_capacity(entries.len()), ..Outcome::default() };
        if entries.iter().all(|entry| !entry.is_kept()) {
            outcome.appended.extend(entries.iter().map(|_| passing(ids, now)));
            return Ok(outcome);
        }
        let tx = begin(connection, path, tuning)?;
        outcome.stored.reserve(entries.len());
        let mut overgrown = Vec::new();
        let mut bytes = 0;
        if rooms.len() >= KNOWN_ROOMS {
            rooms.clear();
        }
        {
            let mut insert = tx.prepare_cached(
                "INSERT INTO messages (key, room, tail, sender, text, extra, ref, name, reply_to)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (room, sender, ref) WHERE ref IS NOT NULL DO NOTHING",
            )?;
            for entry in entries {
                if !entry.is_kept() {
                    outcome.appended.push(passing(ids, now));
                    continue;
                }
                let room = match rooms.get_mut(entry.room()) {
                    Some(known) => known,
                    None => match (find(&tx, entry.room())?, entry) {
                        (Some(known), _) => rooms.entry(entry.room().clone()).or_insert(known),
                        (None, NewEntry::Message(_)) => {
                            rooms.entry(entry.room().clone()).or_insert(found(&tx, entry.room())?)
                        }
                        (None, NewEntry::Change(_)) => {
                            outcome.appended.push(Appended::Refused(Unchangeable::NoSuchMessage));
                            continue;
                        }
                    },
                };
                match entry {
                    NewEntry::Message(draft) => {
                        let reply_to = match draft.reply_to {
                            Some(id) if is_there(&tx, room.id, id)? => Some(id.0.into_bytes()),
                            _ => None,
                        };
                        let (key, tail) = ids.next(now);
                        let (extra, reference) = (draft.extra.as_deref(), draft.reference.as_deref());
                        let (text, name) = (&*draft.text, draft.name.as_deref());
                        let row = (key, room.id, tail, &*draft.sender, text, extra, reference, name, reply_to);
                        if insert.execute(row)? == 0 {
                            outcome.appended.push(Appended::Repeated(first_use(&tx, room.id, draft)?));
                            continue;
                        }
                        let id = ids::join(key, tail);
                        outcome.appended.push(match draft.reply_to.is_some() && reply_to.is_none() {
                            true => Appended::StoredAlone(id),
                            false => Appended::Stored(id),
                        });
                        bytes += 64 + draft.sender.len() + text.len() + extra.map_or(0, str::len);
                        outcome.stored.push((room.id, key));
                    }
                    NewEntry::Change(change) => {
                        let (of, last) = (ids::key(change.of), ids.last());
                        match change::make(&tx, room.id, change, || ids.next(now))? {
                            Ok(id) => {
                                outcome.appended.push(Appended::Stored(id));
                                // Its own page, the message's and those of two indexes.
                                bytes += 4 * 4096;
                                if matches!(change.kind, NewChangeKind::Delete) {
                                    outcome.deleted.push((room.id, of));
                                }
                            }
                            Err(why) => {
                                debug_assert_eq!(ids.last(), last, "no id is given out for nothing");
                                outcome.appended.push(Appended::Refused(why));
                                continue;
                            }
                        }
                    }
                }
                room.grown = room.grown.saturating_add(1);
                if slack.is_some_and(|slack| room.grown >= slack) {
                    room.grown = 0;
                    overgrown.push(room.id);
                }
            }
        }
        tx.commit()?;
        chores.trim(&overgrown);
        self.count_pages(1 + bytes / 4096);
        Ok(outcome)
    }

    /// Notes about how many pages the WAL has grown by.
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

    /// The transaction was rolled back, and with it perhaps the row of a room that we remember. What
    /// is not plainly the disk's or another process's doing is answered with a fresh connection.
    fn recover(&mut self, error: &rusqlite::Error) {
        self.rooms.clear();
        if !matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)) {
            self.connection = None;
        }
    }
}

/// A panic while the lock was held may have cut a transaction short: the writer starts afresh.
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
        None => connection.insert(database::connect(path, tuning)?),
    };
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// The place of a message that leaves no trace.
fn passing(ids: &mut Ids, now: i64) -> Appended {
    let (key, tail) = ids.next(now);
    Appended::Stored(ids::join(key, tail))
}

/// The row of a room, if there is one.
fn find(tx: &Transaction<'_>, room: &RoomName) -> rusqlite::Result<Option<Known>> {
    tx.prepare_cached("SELECT id FROM rooms WHERE name = ?1")?
        // How much it had grown is not known: the keeper looks after the next message.
        .query_row([room.as_str()], |row| Ok(Known { id: row.get(0)?, grown: u64::MAX }))
        .optional()
}

/// Makes the row of a room.
fn found(tx: &Transaction<'_>, room: &RoomName) -> rusqlite::Result<Known> {
    tx.prepare_cached("INSERT INTO rooms (name) VALUES (?1)")?.execute([room.as_str()])?;
    Ok(Known { id: tx.last_insert_rowid(), grown: 0 })
}

/// The message that `draft` repeats.
fn first_use(tx: &Transaction<'_>, room: i64, draft: &Draft) -> rusqlite::Result<MessageId> {
    tx.prepare_cached("SELECT key, tail FROM messages WHERE room = ?1 AND sender = ?2 AND ref = ?3")?
        .query_row((room, &*draft.sender, draft.reference.as_deref()), |row| Ok(ids::join(row.get(0)?, row.get(1)?)))
}

/// Whether a message is in a room, and not deleted.
fn is_there(tx: &Transaction<'_>, room: i64, id: MessageId) -> rusqlite::Result<bool> {
    let tail: Option<i64> = tx
        .prepare_cached("SELECT tail FROM messages WHERE key = ?1 AND room = ?2 AND deleted IS NULL")?
        .query_row((ids::key(id), room), |row| row.get(0))
        .optional()?;
    Ok(tail.is_some_and(|tail| ids::join(ids::key(id), tail) == id))
}
