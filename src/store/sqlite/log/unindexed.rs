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
#[derive(Default)]
pub(super) struct Unindexed(Mutex<BTreeSet<Entry>>);

impl Unindexed {
    /// Finds out which messages have no entry.
    pub fn load(connection: &Connection) -> rusqlite::Result<Unindexed> {
        let mut newer =
            connection.prepare("SELECT room, key FROM messages WHERE key > (SELECT key FROM indexed) ORDER BY key")?;
        let keys = newer.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(Unindexed(Mutex::new(keys)))
    }

    /// Adds messages that are stored now; whether it is time to index.
    pub fn add(&self, stored: impl IntoIterator<Item = Entry>) -> bool {
        let mut keys = self.0.lock();
        keys.extend(stored);
        keys.len() >= MANY
    }

    /// The room's keys in this range, in ascending order.
    ///
    /// To be asked before the view in which messages are read begins: then each message that is older than the
    /// first of these has its entry in that view.
    pub fn of_room(&self, room: i64, range: impl RangeBounds<i64>) -> Vec<i64> {
        let keys = self.0.lock();
        let all = keys.range((room, i64::MIN)..=(room, i64::MAX)).map(|(_, key)| *key);
        all.filter(|key| range.contains(key)).collect()
    }

    /// Makes the entries of all that are here, up to and including `last`, the newest message. Answers how many; they
    /// stay here until the transaction is done and [`Unindexed::clear`] is called.
    pub fn index(&self, tx: &Transaction<'_>, last: i64) -> rusqlite::Result<usize> {
        let keys = self.0.lock().clone();
        let mut insert = tx.prepare_cached("INSERT OR IGNORE INTO by_room (room, key) VALUES (?1, ?2)")?;
        for entry in &keys {
            insert.execute(*entry)?;
        }
        tx.prepare_cached("UPDATE indexed SET key = ?1")?.execute([last])?;
        Ok(keys.len())
    }

    /// All have their entries.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
