//! What the file holds, and how it is added and removed.
//!
//! A message that is removed by itself leaves every list of words at once. This takes a millisecond or more: each of
//! its words has a list, and that of its room is as long as the room. If many are removed, they are only struck off
//! first. Then, a slice at a time, all lists are merged into new ones without them. Until that is done the file notes
//! it (FTS5's setting `secure-delete` is off). At last the copies that SQLite has left of rows are overwritten
//! ([`slack`]); the file notes until when that is due, too. So the next process goes on, whatever ended this one.

use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        search::words,
        sqlite::{
            database,
            error::failed,
            log::ids,
            slack::{self, Slack},
        },
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::time::{Duration, Instant};
use uuid::Uuid;

pub(super) const STORE: &str = "search index";

/// What can't be done during an outage.
pub(super) const FOLLOW: &str = "follow the log";

/// From how many removed messages on the index is merged, if it is small, and for how many further bytes of a larger
/// index there may be one more: a merge costs as much as the index is large.
const MANY: u64 = 500;
const MORE_EACH: u64 = 64 << 10;

/// Pages of lists that one slice of a merge writes, and how long one works at what SQLite has left of rows.
const SLICE: i64 = 64;
const OVERWRITING: Duration = Duration::from_millis(4);

/// The file, as the one thread that changes it uses it.
pub(super) struct Index {
    file: Connection,
    /// Messages removed or edited one by one since everything was last settled.
    gone: u64,
    /// Whether removed messages are only struck off.
    strikes: bool,
    /// Whether a merge has begun.
    merges: bool,
    /// Whether something was removed or edited since the WAL was last emptied.
    erased: bool,
    slack: Slack,
    /// The pages whose slack is still to be overwritten. Any change ends that.
    pages: Option<Vec<u32>>,
}

/// Which entries are indexed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    /// Only those that remove something: there is no space for more.
    Losses,
}

impl Index {
    pub fn of(file: Connection, slack: Slack) -> rusqlite::Result<Index> {
        // What is deleted is overwritten.
        database::wipe_what_is_deleted(&file)?;
        let is_secure: Option<bool> = file
            .query_row("SELECT v FROM messages_config WHERE k = 'secure-delete'", (), |row| row.get(0))
            .optional()?;
        let strikes = is_secure == Some(false);
        let erased = strikes || slack::is_due(&file)?;
        Ok(Index { file, gone: 0, strikes, merges: false, erased, slack, pages: None })
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
        self.strike_if_many()?;
        let gone = self.change(|tx| {
            batch.iter().try_fold(0, |gone, (room, entries)| Ok(gone + take_in(tx, room, entries, extent)?))
        })?;
        self.went(gone);
        Ok(())
    }

    /// Removes up to `limit` messages of a room from before this key, and the room with its last. Returns how many.
    pub fn take_out(&mut self, room: i64, before: i64, limit: usize) -> Result<usize, StoreError> {
        self.strike_if_many()?;
        let gone = self.change(|tx| {
            let gone = tx
                .prepare_cached(
                    "DELETE FROM messages WHERE rowid IN
                     (SELECT rowid FROM messages WHERE messages MATCH ?1 AND rowid < ?2 ORDER BY rowid LIMIT ?3)",
                )?
                .execute((format!("room : \"{room}\""), before, limit as i64))?;
            if gone > 0 {
                slack::set_due(tx, true)?;
            } else if before == i64::MAX {
                tx.execute("DELETE FROM rooms WHERE id = ?1", [room])?;
            }
            Ok(gone)
        })?;
        self.went(gone as u64);
        Ok(gone)
    }

    /// Does one slice of erasing what was struck off. Returns whether nothing is left to do.
    pub fn settle(&mut self) -> Result<bool, StoreError> {
        if !self.strikes {
            return Ok(true);
        }
        // A negative number begins, and takes all lists together.
        if self.merge(if self.merges { SLICE } else { -SLICE })? {
            self.change(|tx| set_secure_delete(tx, true))?;
            (self.strikes, self.merges) = (false, false);
            return Ok(true);
        }
        self.merges = true;
        Ok(false)
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

    /// Does one slice of overwriting what SQLite has left of what was removed: in its WAL, and in slack. Returns whether
    /// nothing is left to do.
    pub fn wipe(&mut self) -> Result<bool, StoreError> {
        self.gone = 0;
        if !self.erased {
            return Ok(true);
        }
        let mut pages = match self.pages.take() {
            Some(pages) => pages,
            None => {
                let is_busy =
                    self.read(|file| file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0)))?;
                if is_busy {
                    return Err(failed(STORE, FOLLOW)("its write-ahead log is in use"));
                }
                if !self.read(slack::is_due)? {
                    self.erased = false;
                    return Ok(true);
                }
                self.slack.pages(&self.file).map_err(failed(STORE, FOLLOW))?
            }
        };
        let begun = Instant::now();
        while begun.elapsed() < OVERWRITING
            && let Some(page) = pages.pop()
        {
            self.slack.overwrite(page).map_err(failed(STORE, FOLLOW))?;
        }
        if !pages.is_empty() {
            self.pages = Some(pages);
            return Ok(false);
        }
        self.slack.sync().map_err(failed(STORE, FOLLOW))?;
        self.read(slack::forget_pages)?;
        self.change(|tx| slack::set_due(tx, false))?;
        self.erased = false;
        Ok(true)
    }

    /// Notes that the WAL may have erased text from any connection.
    pub fn wipe_next_time(&mut self) {
        self.erased = true;
    }

    fn went(&mut self, gone: u64) {
        self.gone += gone;
        self.erased |= gone > 0;
        // What is struck off now needs a merge of all lists, too.
        self.merges = false;
    }

    fn strike_if_many(&mut self) -> Result<(), StoreError> {
        if !self.strikes && self.gone >= MANY && self.gone >= MANY + self.used()? / MORE_EACH {
            self.change(|tx| set_secure_delete(tx, false))?;
            self.strikes = true;
        }
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.file).map_err(failed(STORE, FOLLOW))
    }

    fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.pages = None;
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
                let deleted = tx.prepare_cached("DELETE FROM messages WHERE rowid = ?1")?.execute([ids::key(*of)])?;
                if deleted > 0 {
                    slack::set_due(tx, true)?;
                }
                gone += deleted;
            }
            Entry::Message(_) | Entry::Change(Change { kind: ChangeKind::Reacted { .. }, .. }) => {}
        }
    }
    Ok(gone as u64)
}
