//! What the file holds, and how it is added and removed.
//!
//! A message that is removed by itself leaves every list of words at once. This takes a millisecond or so: each of its
//! words has a list, as long as its stretch ([`stretches`]). If many are removed, they are only struck off first. Then, a slice at a time, all lists are merged into new ones without them. Until that is done the file notes
//! it (FTS5's setting `secure-delete` is off). At last the copies that SQLite has left of rows are overwritten
//! ([`slack`]); the file notes until when that is due, too. So the next process goes on, whatever ended this one.

use super::stretches::{self, Filling};
use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        sqlite::{
            database,
            error::failed,
            log::ids,
            slack::{self, Slack, SlackError},
        },
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};
use uuid::Uuid;

pub(super) const STORE: &str = "search index";

/// What can't be done during an outage.
pub(super) const FOLLOW: &str = "follow the log";

/// From how many removed messages on the index is merged, if it is small, and for how many further bytes of a larger
/// index there may be one more: a merge costs as much as the index is large.
const MANY: u64 = 500;
const MORE_EACH: u64 = 64 << 10;

/// After so many messages the thread lets others have its core: some 50 µs, instead of the milliseconds after which the
/// kernel would take it away.
const AT_A_TIME: usize = 4;

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
    /// What was deleted or edited up to this key is not in the index as it was before. The file may say less.
    changes: i64,
    slack: Slack,
    /// The pages whose slack is still to be overwritten. Until there are none, the WAL is emptied after each change, so the
    /// others stay as they are ([`Index::overwrite_changed`]).
    pages: Option<Vec<u32>>,
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
        let changes = file.query_row("SELECT changes FROM progress", (), |row| row.get(0))?;
        Ok(Index { file, gone: 0, strikes, merges: false, erased, changes, slack, pages: None })
    }

    /// The index has all entries of all rooms up to this one.
    pub fn floor(&self) -> Result<MessageId, StoreError> {
        self.read(|file| {
            let floor = file.query_row("SELECT position FROM progress", (), |row| row.get(0))?;
            Ok(MessageId(Uuid::from_bytes(floor)))
        })
    }

    pub fn set_floor(&mut self, floor: MessageId) -> Result<(), StoreError> {
        let changes = self.changes;
        self.change(|tx| {
            tx.prepare_cached("UPDATE progress SET position = ?1, changes = ?2")?
                .execute((floor.0.as_bytes(), changes))
                .map(drop)
        })
    }

    /// What was deleted or edited up to this key is not in the index as it was before.
    pub fn changes(&self) -> i64 {
        self.changes
    }

    /// Notes this in memory; [`Index::set_floor`] writes it.
    pub fn set_changes(&mut self, through: i64) {
        self.changes = through;
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

    /// The number of a room that has something in the index.
    pub fn number(&self, room: &RoomName) -> Result<Option<i64>, StoreError> {
        self.read(|file| room_number(file, room))
    }

    pub fn is_empty(&self) -> Result<bool, StoreError> {
        self.read(|file| file.query_row("SELECT NOT EXISTS (SELECT 1 FROM rooms)", (), |row| row.get(0)))
    }

    /// Bytes that the index uses.
    pub fn used(&self) -> Result<u64, StoreError> {
        self.read(database::used)
    }

    /// Brings rooms up to date with these entries.
    pub fn take_in(&mut self, batch: &[(RoomName, Vec<Entry>)]) -> Result<(), StoreError> {
        self.strike_if_many()?;
        let gone =
            self.change(|tx| batch.iter().try_fold(0, |gone, (room, entries)| Ok(gone + take_in(tx, room, entries)?)))?;
        self.went(gone);
        Ok(())
    }

    /// Removes these messages, by their keys, and notes that all changes up to the key `through` were followed.
    pub fn remove(&mut self, messages: &[i64], through: i64) -> Result<(), StoreError> {
        self.strike_if_many()?;
        let gone = self.change(|tx| {
            let gone = remove(tx, messages)?;
            tx.prepare_cached("UPDATE progress SET changes = ?1")?.execute([through])?;
            Ok(gone)
        })?;
        self.changes = through;
        self.went(gone);
        Ok(())
    }

    /// Removes messages of rooms from before these keys, and rooms with their last; about `limit` in all. Returns how
    /// many of the rooms are done.
    pub fn take_out(&mut self, ends: &[(i64, i64)], limit: usize) -> Result<usize, StoreError> {
        self.strike_if_many()?;
        let (gone, done) = self.change(|tx| {
            let (mut gone, mut done) = (0, 0);
            for (room, before) in ends {
                let (some, is_all) = stretches::take_out(tx, *room, *before, limit.saturating_sub(gone).max(1))?;
                gone += some;
                if !is_all {
                    break;
                }
                if *before == i64::MAX {
                    tx.prepare_cached("DELETE FROM rooms WHERE id = ?1")?.execute([room])?;
                }
                done += 1;
            }
            if gone > 0 {
                slack::set_due(tx, true)?;
            }
            Ok((gone, done))
        })?;
        self.went(gone as u64);
        Ok(done)
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
                if !self.read(slack::empty_wal)? {
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

    /// Empties the WAL after a change, and overwrites the slack of the pages that it had. Returns those of `pages` that are
    /// left; `None`: the WAL is in use.
    fn overwrite_changed(&mut self, mut pages: Vec<u32>) -> Result<Option<Vec<u32>>, SlackError> {
        let Some(changed) = self.slack.checkpoint(&self.file)? else { return Ok(None) };
        slack::forget_pages(&self.file)?;
        pages.retain(|page| changed.binary_search(page).is_err());
        Ok(Some(pages))
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
            // The merge writes all lists anew.
            self.pages = None;
        }
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.file).map_err(failed(STORE, FOLLOW))
    }

    fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let pages = self.pages.take();
        let change = || {
            let tx = self.file.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&tx)?;
            tx.commit()?;
            Ok(result)
        };
        let result = change().map_err(failed::<rusqlite::Error>(STORE, FOLLOW))?;
        // If this fails, the overwriting begins anew, and says why it can't.
        self.pages = pages.and_then(|pages| self.overwrite_changed(pages).ok().flatten());
        Ok(result)
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
fn take_in(tx: &Transaction<'_>, room: &RoomName, entries: &[Entry]) -> rusqlite::Result<u64> {
    let Some(last) = entries.last().map(Entry::id) else { return Ok(0) };
    let number = set_position(tx, room, last)?;
    let mut filling = Filling::of(tx, number)?;
    let (mut added, mut changes) = (HashSet::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Message(message) => {
                filling.add(message.id, &message.text)?;
                added.insert(message.id);
                // Whoever waits for this core has something to deliver; this can wait.
                if added.len().is_multiple_of(AT_A_TIME) {
                    thread::yield_now();
                }
            }
            Entry::Change(change) => changes.push(change),
        }
    }
    filling.end()?;
    let mut gone = 0;
    for Change { of, kind, .. } in changes {
        // A message that was added just now was read as it is now.
        if matches!(kind, ChangeKind::Reacted { .. }) || added.contains(of) {
            continue;
        }
        gone += remove(tx, &[ids::key(*of)])?;
        if let ChangeKind::Edited(Some(text)) = kind {
            stretches::change(tx, number, *of, text)?;
        }
    }
    Ok(gone)
}

/// Notes how far the index has got in a room. Returns the room's number.
///
/// Not by one statement with `RETURNING`: that takes a savepoint, and for each FTS5 writes what it has collected.
fn set_position(tx: &Transaction<'_>, room: &RoomName, position: MessageId) -> rusqlite::Result<i64> {
    let position = position.0.as_bytes();
    if let Some(number) = room_number(tx, room)? {
        tx.prepare_cached("UPDATE rooms SET position = ?2 WHERE id = ?1")?.execute((number, position))?;
        return Ok(number);
    }
    tx.prepare_cached("INSERT INTO rooms (name, position) VALUES (?1, ?2)")?.execute((room.as_str(), position))?;
    Ok(tx.last_insert_rowid())
}

/// Removes these messages, by their keys. Returns how many there were.
fn remove(tx: &Transaction<'_>, messages: &[i64]) -> rusqlite::Result<u64> {
    let mut delete = tx.prepare_cached("DELETE FROM messages WHERE rowid = ?1")?;
    let mut gone = 0;
    for key in messages {
        gone += delete.execute([key])?;
    }
    if gone > 0 {
        slack::set_due(tx, true)?;
    }
    Ok(gone as u64)
}
