//! The newest messages, which have no entry in `by_room` yet.
//!
//! With an entry a message, a batch for many rooms writes a page for each of them: that was most of what a commit
//! cost. So entries are made for many messages at once, in the order of the pages, and until then the
//! keys are here. After a crash they are read from the messages again.

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction};
use std::{collections::BTreeSet, ops::RangeBounds};

/// Messages that get their entries at once. It takes some milliseconds, for which others wait.
const MANY: usize = 2048;

/// The number of a room and the key of a message in it, in the order of `by_room`.
pub(super) type Entry = (i64, i64);

/// The entries that are still to be made, of messages whose commit is done. Filled by the writer, read by those who
/// read history.
pub(super) struct Unindexed(Mutex<Newest>);

struct Newest {
    entries: BTreeSet<Entry>,
    /// The key that was given out last, to a message or a change whose commit is done.
    last: i64,
}

impl Unindexed {
    /// Finds out which messages have no entry. `last`: the key that was given out last.
    pub fn load(connection: &Connection, last: i64) -> rusqlite::Result<Unindexed> {
        let mut newer = connection.prepare(
            "SELECT room, key FROM messages WHERE key > (SELECT key FROM indexed) AND deleted IS NULL ORDER BY key",
        )?;
        let entries = newer.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(Unindexed(Mutex::new(Newest { entries, last })))
    }

    /// Adds messages that are stored now, and takes out those that are deleted now; whether it is time to index. `last`:
    /// the key that was given out last.
    pub fn add(&self, stored: &[Entry], deleted: &[Entry], last: i64) -> bool {
        let mut newest = self.0.lock();
        newest.entries.extend(stored);
        for entry in deleted {
            newest.entries.remove(entry);
        }
        newest.last = last;
        newest.entries.len() >= MANY
    }

    /// The room's keys in this range, in ascending order, and the key that was given out last.
    ///
    /// To be asked before the view in which messages are read begins: then each message that is older than the
    /// first of these has its entry in that view.
    pub fn of_room(&self, room: i64, range: impl RangeBounds<i64>) -> (Vec<i64>, i64) {
        let newest = self.0.lock();
        let all = newest.entries.range((room, i64::MIN)..=(room, i64::MAX)).map(|(_, key)| *key);
        (all.filter(|key| range.contains(key)).collect(), newest.last)
    }

    /// Makes the entries of all that are here, up to and including `last`, the newest message. Answers how many; they
    /// stay here until the transaction is done and [`Unindexed::clear`] is called.
    pub fn index(&self, tx: &Transaction<'_>, last: i64) -> rusqlite::Result<usize> {
        let keys = self.0.lock().entries.clone();
        let mut insert = tx.prepare_cached("INSERT OR IGNORE INTO by_room (room, key) VALUES (?1, ?2)")?;
        for entry in &keys {
            insert.execute(*entry)?;
        }
        tx.prepare_cached("UPDATE indexed SET key = ?1")?.execute([last])?;
        Ok(keys.len())
    }

    /// All have their entries.
    pub fn clear(&self) {
        self.0.lock().entries.clear();
    }

    /// The key that was given out last.
    pub fn last(&self) -> i64 {
        self.0.lock().last
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().entries.is_empty()
    }
}
