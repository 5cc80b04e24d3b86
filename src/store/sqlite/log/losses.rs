//! What the log has lost, for the search index, which must lose it too: messages that were deleted or edited, and rooms
//! from which something was trimmed, or that were forgotten or set aside.
//!
//! So the index looks only at what it has to remove, however many other rooms there are. The rooms are noted in a table,
//! in the transaction that removes something, so that a process that ends in between leaves them to the next.

use super::{SqliteLog, ids, shrunk::Shrunk, unable, writer::lock_writer};
use crate::{
    message::RoomName,
    store::{
        error::StoreError,
        journal::{Outcome, What},
    },
};

/// What can't be done.
const FOLLOW: &str = "say what it has lost";

/// A message that was deleted, or is no longer what it was.
pub struct Loss {
    /// The change's key.
    pub key: i64,
    pub room: RoomName,
    /// The message's key.
    pub of: i64,
    /// `false`: it was edited.
    pub is_deleted: bool,
}

impl SqliteLog {
    /// Up to `limit` deletions and edits after this key, in their order.
    pub fn lost_after(&self, after: i64, limit: usize) -> Result<Vec<Loss>, StoreError> {
        // Before the tables are read: what leaves the tail meanwhile is found in them.
        let later = self.tail.changes_after(after, limit);
        let mut lost: Vec<Loss> = self.read(FOLLOW, |connection| {
            connection
                .prepare_cached(
                    "SELECT key, name, of, kind FROM changes JOIN rooms ON rooms.id = changes.room
                     WHERE key > ?1 AND kind < 2 AND name IS NOT NULL ORDER BY key LIMIT ?2",
                )?
                .query_map((after, limit as i64), |row| {
                    let room = RoomName::from_store(row.get_ref(1)?.as_str()?);
                    Ok(Loss { key: row.get(0)?, room, of: row.get(2)?, is_deleted: row.get::<_, i64>(3)? == 1 })
                })?
                .collect()
        })?;
        let known = lost.last().map_or(after, |loss| loss.key);
        if lost.len() < limit {
            let free = limit - lost.len();
            let later = later.iter().filter(|record| record.key > known).take(free);
            lost.extend(later.filter_map(|record| {
                let What::Change(changed) = &record.what else { return None };
                let is_deleted = changed.outcome == Outcome::Nothing;
                Some(Loss { key: record.key, room: record.room.clone(), of: ids::key(changed.of), is_deleted })
            }));
        }
        Ok(lost)
    }

    /// Up to `limit` rooms after `after` that have lost something, in the order of their names.
    pub fn shrunk(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<Shrunk>, StoreError> {
        self.read(FOLLOW, |connection| {
            connection
                .prepare_cached("SELECT name, times FROM shrunk WHERE name > ?1 ORDER BY name LIMIT ?2")?
                .query_map((after.map_or("", RoomName::as_str), limit as i64), |row| {
                    Ok((RoomName::from_store(row.get_ref(0)?.as_str()?), row.get(1)?))
                })?
                .collect()
        })
    }

    /// Notes that the search index has followed these rooms. Those that have lost more meanwhile stay.
    pub fn forget_shrunk(&self, rooms: &[Shrunk]) -> Result<(), StoreError> {
        if rooms.is_empty() {
            return Ok(());
        }
        lock_writer(&self.writer).forget_shrunk(rooms).map_err(unable(FOLLOW))
    }

    /// Rooms that are forgotten or set aside in the journal, but not in the tables yet.
    pub fn rooms_to_end(&self) -> Vec<RoomName> {
        self.tail.rooms().into_iter().filter(|room| room.is_forgotten).map(|room| room.name).collect()
    }
}
