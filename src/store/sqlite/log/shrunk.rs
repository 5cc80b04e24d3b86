//! Notes of rooms that have lost something, which the search index has yet to follow.

use crate::message::RoomName;
use rusqlite::Connection;

/// A room that has lost something, and a number that grows when it loses more.
pub(in crate::store::sqlite) type Shrunk = (RoomName, i64);

/// Notes that a room has lost something, by its number.
pub(super) fn note(tx: &Connection, room: i64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO shrunk SELECT name, 1 FROM rooms WHERE id = ?1 AND name IS NOT NULL
         ON CONFLICT (name) DO UPDATE SET times = times + 1",
    )?
    .execute([room])
    .map(drop)
}

/// The same by its name.
pub(super) fn note_room(tx: &Connection, room: &RoomName) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO shrunk VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET times = times + 1")?
        .execute([room.as_str()])
        .map(drop)
}

/// Removes the notes of these rooms, except of those that have lost more meanwhile.
pub(super) fn forget(tx: &Connection, rooms: &[Shrunk]) -> rusqlite::Result<()> {
    let mut forget = tx.prepare_cached("DELETE FROM shrunk WHERE name = ?1 AND times = ?2")?;
    rooms.iter().try_for_each(|(room, times)| forget.execute((room.as_str(), times)).map(drop))
}
