//! Lists the rooms that have messages.

use super::{SqliteLog, authors};
use crate::{message::RoomName, store::error::StoreError};
use std::collections::BTreeSet;

impl SqliteLog {
    /// Up to `limit` rooms after `after`, in the order of their names.
    pub(super) fn list_rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        self.settle_set_aside()?;
        // Before the tables are read: what leaves the tail meanwhile is found in them.
        let (mut found, mut forgotten) = (BTreeSet::new(), BTreeSet::new());
        for room in self.tail.rooms() {
            if room.last.is_some() && after.is_none_or(|after| room.name > *after) {
                found.insert(room.name);
            } else if room.is_forgotten {
                forgotten.insert(room.name);
            }
        }
        let most = limit.saturating_add(forgotten.len());
        let kept: Vec<RoomName> = self.read("list the rooms", |connection| {
            connection
                .prepare_cached("SELECT name FROM rooms WHERE name > ?1 ORDER BY name LIMIT ?2")?
                .query_map((after.map_or("", RoomName::as_str), i64::try_from(most).unwrap_or(i64::MAX)), |row| {
                    Ok(RoomName::from_store(row.get_ref(0)?.as_str()?))
                })?
                .collect()
        })?;
        found.extend(kept.into_iter().filter(|name| !forgotten.contains(name)));
        Ok(found.into_iter().take(limit).collect())
    }

    /// Up to `limit` rooms after `after`, among them all where this sender has said something as an account.
    pub(super) fn list_rooms_of(
        &self,
        sender: &str,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Vec<RoomName>, StoreError> {
        self.settle_set_aside()?;
        // Before the tables are read, as above.
        let mut found = self.tail.rooms_of(sender);
        let kept = self.read("list the rooms of an account", |connection| authors::rooms_of(connection, sender))?;
        // Until all older messages are noted, any room may be one of them.
        let Some(kept) = kept else { return self.list_rooms(after, limit) };
        found.extend(kept.into_iter().map(|(_, room)| room));
        Ok(found.into_iter().filter(|room| after.is_none_or(|after| room > after)).take(limit).collect())
    }

    /// Waits until what was set aside has its new name. Otherwise an erasure would miss it.
    fn settle_set_aside(&self) -> Result<(), StoreError> {
        if self.tail.sets_aside() { self.settle() } else { Ok(()) }
    }
}
