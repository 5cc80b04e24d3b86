//! What the file holds, and how it is added and removed.
//!
//! A message that is removed by itself leaves every list of words at once. This takes a millisecond or more: each of
//! its words has a list, and that of its room is as long as the room. If many are removed, they are only struck off
//! first. Then, a slice at a time, all lists are merged into new ones without them, and the remaining texts are copied
//! to a new table: SQLite overwrites what it deletes, but leaves copies of rows behind when it moves them from page to
//! page. Until that is done the file notes it (FTS5's setting `secure-delete` is off), so the next process goes on,
//! whatever ended this one.

use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        search::words,
        sqlite::{database, error::failed, log::ids},
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use uuid::Uuid;

pub(super) const STORE: &str = "search index";

/// What can't be done during an outage.
pub(super) const FOLLOW: &str = "follow the log";

/// From how many removed messages on the index is merged, if it is small, and for how many further bytes of a larger
/// index there may be one more: a merge costs as much as the index is large.
const MANY: u64 = 500;
const MORE_EACH: u64 = 64 << 10;

/// Pages of lists that one slice of a merge writes, and texts that one copies.
const SLICE: i64 = 64;
const ROWS: i64 = 500;

/// FTS5's own table of the texts; the one that is to replace it; the one that was replaced.
const TEXTS: &str = "messages_content";
const COPY: &str = "texts_copy";
const OUTDATED: &str = "texts_outdated";

/// The file, as the one thread that changes it uses it.
pub(super) struct Index {
    file: Connection,
    /// Messages removed or edited one by one since everything was last settled.
    gone: u64,
    /// Whether removed messages are only struck off.
    strikes: bool,
    stage: Stage,
    /// Whether something was removed since the WAL was last emptied.
    erased: bool,
}

/// How far it has got with erasing what was struck off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Removes what an earlier attempt has left.
    Clearing,
    Beginning,
    Merging,
    /// Texts up to this number are copied.
    Copying(i64),
    /// The replaced table is being emptied.
    Emptying,
}

/// Why messages are removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A user wants nothing of them left.
    Erased,
    /// The log has no space for them.
    Trimmed,
}

/// Which entries are indexed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    /// Only those that remove something: there is no space for more.
    Losses,
}

impl Index {
    pub fn of(file: Connection) -> rusqlite::Result<Index> {
        // What is deleted is overwritten.
        database::wipe_what_is_deleted(&file)?;
        let is_secure: Option<bool> = file
            .query_row("SELECT v FROM messages_config WHERE k = 'secure-delete'", (), |row| row.get(0))
            .optional()?;
        let strikes = is_secure == Some(false);
        Ok(Index { file, gone: 0, strikes, stage: Stage::Clearing, erased: strikes })
    }

    /// The index has all entries of all rooms up to this one.
    pub fn floor(&self) -> Result<MessageId, StoreError> {
        self.read(|file| {
            let floor = file.query_row("SELECT position FROM floor", (), |row| row.get(0)).optional()?;
            Ok(floor.map_or(MessageId::BEFORE_ALL, |id| MessageId(Uuid::from_bytes(id))))
        })
    }

    pub fn set_floor(&mut self, floor: MessageId) -> Result<(), StoreError> {
        self.change(|tx| {
            tx.execute("INSERT OR REPLACE INTO floor (id, position) VALUES (0, ?1)", [floor.0.as_bytes()]).map(drop)
        })
    }

    /// How far the index has got in a room.
    pub fn position(&self, room: &RoomName) -> Result<MessageId, StoreError> {
        self.read(|file| {
            let position = file
                .prepare_cached("SELECT position FROM rooms WHERE name = ?1")?
                .query_row([room.as_str()], |row| row.get(0))
                .optional()?;
            Ok(position.map_or(MessageId::BEFORE_ALL, |id| MessageId(Uuid::from_bytes(id))))
        })
    }

    /// The rooms, with their numbers.
    pub fn rooms(&self) -> Result<Vec<(i64, String)>, StoreError> {
        self.read(|file| {
            file.prepare_cached("SELECT id, name FROM rooms")?.query_map((), |row| row.try_into())?.collect()
        })
    }

    /// Bytes that the index uses.
    pub fn used(&self) -> Result<u64, StoreError> {
        self.read(database::used)
    }

    /// Brings rooms up to date with these entries.
    pub fn take_in(&mut self, batch: &[(RoomName, Vec<Entry>)], extent: Extent) -> Result<(), StoreError> {
        let is_loss = |entry: &Entry| matches!(entry, Entry::Change(change) if !matches!(change.kind, ChangeKind::Reacted { .. }));
        let loses = batch.iter().any(|(_, entries)| entries.iter().any(is_loss));
        self.strike_if_many(if loses { Cause::Erased } else { Cause::Trimmed })?;
        let gone = self.change(|tx| {
            batch.iter().try_fold(0, |gone, (room, entries)| Ok(gone + take_in(tx, room, entries, extent)?))
        })?;
        self.went(gone);
        Ok(())
    }

    /// Removes up to `limit` messages of a room from before this key, and the room with its last. Returns how many.
    pub fn take_out(&mut self, room: i64, before: i64, limit: usize, cause: Cause) -> Result<usize, StoreError> {
        self.strike_if_many(cause)?;
        let gone = self.change(|tx| {
            let gone = tx
                .prepare_cached(
                    "DELETE FROM messages WHERE rowid IN
                     (SELECT rowid FROM messages WHERE messages MATCH ?1 AND rowid < ?2 ORDER BY rowid LIMIT ?3)",
                )?
                .execute((format!("room : \"{room}\""), before, limit as i64))?;
            if gone == 0 && before == i64::MAX {
                tx.execute("DELETE FROM rooms WHERE id = ?1", [room])?;
            }
            Ok(gone)
        })?;
        self.went(gone as u64);
        Ok(gone)
    }

    /// Does one slice of erasing what was struck off. Returns whether it was the last.
    pub fn settle(&mut self) -> Result<bool, StoreError> {
        if !self.strikes {
            return Ok(true);
        }
        self.stage = match self.stage {
            Stage::Clearing if self.is_there(OUTDATED)? => {
                self.empty()?;
                Stage::Clearing
            }
            Stage::Clearing => {
                if self.is_there(COPY)? && self.has_rows(COPY)? {
                    self.change(|tx| {
                        tx.execute_batch(&format!("ALTER TABLE {COPY} RENAME TO {OUTDATED}; {}", create(COPY)))
                    })?;
                    Stage::Clearing
                } else {
                    Stage::Beginning
                }
            }
            Stage::Beginning | Stage::Merging => {
                // A negative number begins, and takes all lists together.
                let pages = if self.stage == Stage::Merging { SLICE } else { -SLICE };
                match (self.merge(pages)?, self.is_there(COPY)?) {
                    (false, _) => Stage::Merging,
                    (true, true) => Stage::Copying(i64::MIN),
                    (true, false) => return self.settled(),
                }
            }
            Stage::Copying(last) => match self.copy(last)? {
                Some(last) => Stage::Copying(last),
                None => Stage::Emptying,
            },
            Stage::Emptying => {
                if self.empty()? {
                    return self.settled();
                }
                Stage::Emptying
            }
        };
        Ok(false)
    }

    fn settled(&mut self) -> Result<bool, StoreError> {
        self.change(|tx| set_secure_delete(tx, true))?;
        (self.strikes, self.gone, self.stage) = (false, 0, Stage::Clearing);
        Ok(true)
    }

    /// Merges some pages of lists. Returns whether there is nothing to merge.
    fn merge(&mut self, pages: i64) -> Result<bool, StoreError> {
        self.change(|tx| {
            let changes = |tx: &Transaction<'_>| tx.query_row("SELECT total_changes()", (), |row| row.get::<_, i64>(0));
            let before = changes(tx)?;
            tx.prepare_cached("INSERT INTO messages (messages, rank) VALUES ('merge', ?1)")?.execute([pages])?;
            // One change is the command itself.
            Ok(changes(tx)? - before < 2)
        })
    }

    /// Copies some texts after this number, and returns the last one's number; `None` if there are no more, and the
    /// copy has replaced the table.
    fn copy(&mut self, last: i64) -> Result<Option<i64>, StoreError> {
        self.change(|tx| {
            let copied = tx
                .prepare_cached(&format!(
                    "INSERT INTO {COPY} SELECT id, c0, c1, c2 FROM {TEXTS} WHERE id > ?1 ORDER BY id LIMIT {ROWS}"
                ))?
                .execute([last])?;
            if copied > 0 {
                return tx.query_row(&format!("SELECT max(id) FROM {COPY}"), (), |row| row.get(0)).map(Some);
            }
            tx.execute_batch(&format!(
                "ALTER TABLE {TEXTS} RENAME TO {OUTDATED}; ALTER TABLE {COPY} RENAME TO {TEXTS}"
            ))?;
            Ok(None)
        })
    }

    /// Deletes some rows of the replaced table, and finally the table. Returns whether that is done.
    fn empty(&mut self) -> Result<bool, StoreError> {
        self.change(|tx| {
            let gone = tx.execute(
                &format!("DELETE FROM {OUTDATED} WHERE id IN (SELECT id FROM {OUTDATED} ORDER BY id LIMIT {ROWS})"),
                (),
            )?;
            if gone == 0 {
                tx.execute(&format!("DROP TABLE {OUTDATED}"), ())?;
            }
            Ok(gone == 0)
        })
    }

    fn is_there(&self, table: &str) -> Result<bool, StoreError> {
        self.read(|file| {
            file.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([table])
        })
    }

    fn has_rows(&self, table: &str) -> Result<bool, StoreError> {
        self.read(|file| file.prepare(&format!("SELECT 1 FROM {table} LIMIT 1"))?.exists(()))
    }

    /// Empties the WAL if it has what was erased.
    pub fn wipe(&mut self) -> Result<(), StoreError> {
        if self.erased {
            // Otherwise erased text would remain in older copies of its pages.
            let is_busy = self.read(|file| file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0)))?;
            if is_busy {
                return Err(failed(STORE, FOLLOW)("its write-ahead log is in use"));
            }
            self.erased = false;
        }
        if !self.strikes {
            self.gone = 0;
        }
        Ok(())
    }

    /// Notes that the WAL may have erased text from any connection.
    pub fn wipe_next_time(&mut self) {
        self.erased = true;
    }

    fn went(&mut self, gone: u64) {
        self.gone += gone;
        self.erased |= gone > 0;
        // A copy made so far no longer matches the file.
        self.stage = Stage::Clearing;
    }

    fn strike_if_many(&mut self, cause: Cause) -> Result<(), StoreError> {
        if !self.strikes && self.gone >= MANY && self.gone >= MANY + self.used()? / MORE_EACH {
            self.change(|tx| set_secure_delete(tx, false))?;
            self.strikes = true;
        }
        // Its table, while it is empty, notes that texts are to be copied.
        if self.strikes && cause == Cause::Erased && !self.is_there(COPY)? {
            self.change(|tx| tx.execute_batch(&create(COPY)))?;
        }
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.file).map_err(failed(STORE, FOLLOW))
    }

    fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let change = || {
            let tx = self.file.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&tx)?;
            tx.commit()?;
            Ok(result)
        };
        change().map_err(failed::<rusqlite::Error>(STORE, FOLLOW))
    }
}

fn set_secure_delete(tx: &Transaction<'_>, on: bool) -> rusqlite::Result<()> {
    tx.execute("INSERT INTO messages (messages, rank) VALUES ('secure-delete', ?1)", [i64::from(on)]).map(drop)
}

/// As FTS5 makes the table of its texts.
fn create(table: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, c0, c1, c2)")
}

pub(super) fn room_number(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| row.get(0))
        .optional()
}

/// Brings a room up to date with these entries. Returns how many messages were removed or changed.
fn take_in(tx: &Transaction<'_>, room: &RoomName, entries: &[Entry], extent: Extent) -> rusqlite::Result<u64> {
    let Some(last) = entries.last().map(Entry::id) else { return Ok(0) };
    if extent == Extent::All {
        tx.prepare_cached(
            "INSERT INTO rooms (name, position) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        )?
        .execute((room.as_str(), last.0.as_bytes()))?;
    }
    let number = room_number(tx, room)?;
    let mut gone = 0;
    for entry in entries {
        match entry {
            Entry::Message(message) if extent == Extent::All => {
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO messages (rowid, words, room, tail) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((
                    ids::key(message.id),
                    words(&message.text).join(" "),
                    number.map(|number| number.to_string()),
                    ids::tail(message.id),
                ))?;
            }
            Entry::Change(Change { of, kind: ChangeKind::Edited(Some(text)), .. }) => {
                gone += tx
                    .prepare_cached("UPDATE messages SET words = ?2 WHERE rowid = ?1")?
                    .execute((ids::key(*of), words(text).join(" ")))?;
            }
            Entry::Change(Change { of, kind: ChangeKind::Edited(None) | ChangeKind::Deleted, .. }) => {
                gone += tx.prepare_cached("DELETE FROM messages WHERE rowid = ?1")?.execute([ids::key(*of)])?;
            }
            Entry::Message(_) | Entry::Change(Change { kind: ChangeKind::Reacted { .. }, .. }) => {}
        }
    }
    Ok(gone as u64)
}
