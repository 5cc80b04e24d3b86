//! Deletes everything older than a given time.

use super::{SqliteLog, read::known_room, unable, writer::lock_writer};
use crate::{message::RoomName, store::error::StoreError};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long messages may wait for a slice of deletions.
const SLICE: Duration = Duration::from_millis(2);

impl SqliteLog {
    /// Deletes a room's messages and changes from before this Unix millisecond, in slices, so that other work gets its
    /// turn.
    pub(super) fn delete_before(&self, room: &RoomName, before: u64) -> Result<(), StoreError> {
        const WHAT: &str = "delete old messages";
        // The last key of the millisecond before.
        let last = (i64::try_from(before).unwrap_or(i64::MAX >> 12).min(i64::MAX >> 12) << 12) - 1;
        if self.tail.first() <= last {
            self.settle()?;
        }
        let found = self.read(WHAT, |connection| {
            let Some(room) = known_room(connection, room)? else { return Ok(None) };
            let is_old = connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM by_room WHERE room = ?1 AND key <= ?2)
                         OR EXISTS (SELECT 1 FROM changes WHERE room = ?1 AND key <= ?2)",
                )?
                .query_row((room, last), |row| row.get::<_, bool>(0))?;
            Ok(is_old.then_some(room))
        })?;
        let Some(room) = found else { return Ok(()) };
        // Before the first slice, so that the next process goes on if this one ends in between.
        lock_writer(&self.writer).set_sweep_due(true).map_err(unable(WHAT))?;
        let in_slices = |work: &dyn Fn() -> rusqlite::Result<bool>| loop {
            let started = Instant::now();
            if work().map_err(unable(WHAT))? {
                return Ok(());
            }
            thread::sleep(started.elapsed());
        };
        in_slices(&|| lock_writer(&self.writer).trim(room, last, SLICE))?;
        in_slices(&|| lock_writer(&self.writer).trim_changes(room, last, SLICE))?;
        // Otherwise it would remain in segments of the journal, and in copies of rows and pages.
        self.tail.settle_soon();
        self.chores.wipe();
        Ok(())
    }
}
