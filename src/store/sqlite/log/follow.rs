//! Reads on from an entry: for clients that come back, and for webhooks and the search index.

use super::{SqliteLog, ids, page::Page, read};
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
    store::{error::StoreError, log::in_order},
};
use rusqlite::OptionalExtension;
use std::collections::{HashMap, HashSet};

/// The entries after a key, as they stand in the file: SQLite would sort them in memory to group them by room.
pub(super) const NEWER: [&str; 2] =
    ["SELECT room, key FROM messages WHERE key > ?1", "SELECT room, key FROM changes WHERE key > ?1"];

impl SqliteLog {
    /// [`MessageLog::since`](crate::store::log::MessageLog::since), without checking whether `after` is an entry, and
    /// whether everything after it is kept.
    pub fn after(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(self.follow(room, after, limit, false)?.unwrap_or_default())
    }

    /// Passes each room that has entries after this id, with its last, to `each` until that returns `false`.
    pub fn rooms_after(
        &self,
        after: MessageId,
        mut each: impl FnMut(RoomName, MessageId) -> bool,
    ) -> Result<(), StoreError> {
        let mut known = HashSet::new();
        for room in self.tail.rooms() {
            // The tables' part of these rooms is older, or gone.
            let is_known = room.last.is_some() || room.is_forgotten;
            if let Some(last) = room.last.filter(|last| *last > ids::key(after))
                && !each(room.name.clone(), ids::join(last, 0))
            {
                return Ok(());
            }
            known.extend(is_known.then_some(room.name));
        }
        // There may be millions of entries, but fewer rooms.
        let mut newest = HashMap::<i64, i64>::new();
        let newer = self.read("name the rooms that have news", |connection| {
            for newer in NEWER {
                let mut newer = connection.prepare_cached(newer)?;
                let mut rows = newer.query([ids::key(after)])?;
                while let Some(row) = rows.next()? {
                    let (room, key): (i64, i64) = (row.get(0)?, row.get(1)?);
                    newest.entry(room).and_modify(|newest| *newest = key.max(*newest)).or_insert(key);
                }
            }
            let mut name = connection.prepare_cached("SELECT name FROM rooms WHERE id = ?1 AND name IS NOT NULL")?;
            let named = newest.drain().filter_map(|(room, key)| {
                let name = name.query_row([room], |row| Ok(RoomName::from_store(row.get_ref(0)?.as_str()?))).optional();
                name.map(|name| Some((name?, key))).transpose()
            });
            named.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for (name, key) in newer {
            if !known.contains(&name) && !each(name, ids::join(key, 0)) {
                break;
            }
        }
        Ok(())
    }

    /// An id that is not less than that of any entry.
    pub fn last_id(&self) -> MessageId {
        ids::join(self.tail.last(), i64::MAX)
    }

    /// Up to `limit` entries after `after`. If they must be `whole`, `None` unless `after` is an entry and everything
    /// after it is kept.
    pub(super) fn follow(
        &self,
        room: &RoomName,
        after: MessageId,
        limit: usize,
        whole: bool,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let (seen, is_here) = self.tail.after(room, after, limit);
        let (mut messages, mut changes) = (Page::new(limit), Page::new(limit));
        if !is_here && seen.is_all && whole {
            return Ok(None);
        }
        if !is_here && !seen.is_all {
            let range = (after, seen.first);
            let is_whole = self.read("read what somebody has missed", |connection| {
                read::between(connection, room, range, &seen.overlay, (&mut messages, &mut changes))
            })?;
            if whole && !is_whole {
                return Ok(None);
            }
        }
        messages.add(seen.messages.iter().filter_map(|shown| shown.message()));
        changes.add(seen.changes.into_iter());
        Ok(Some(in_order(messages.entries, changes.entries, limit)))
    }
}
