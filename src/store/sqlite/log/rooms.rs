//! Lists the rooms that have messages.

use super::SqliteLog;
use crate::{message::RoomName, store::error::StoreError};
use std::collections::BTreeSet;

impl SqliteLog {
    /// Up to `limit` rooms after `after`, in the order of their names.
    pub(super) fn list_rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
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
}
