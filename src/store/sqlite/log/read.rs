//! Reads from the tables.

use super::{
    change, ids,
    page::Page,
    row::{columns, shown},
    tail::Overlay,
};
use crate::{
    entry::Change,
    message::{Message, MessageId, RoomName},
};
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

/// Fills a page with a room's messages before the key `before`, newest first.
pub(super) fn newest(
    connection: &mut Connection,
    room: &RoomName,
    before: i64,
    overlay: &Overlay,
    page: &mut Page<Message>,
) -> rusqlite::Result<()> {
    let Some(room) = known_room(connection, room)? else { return Ok(()) };
    // One view of the tables: trimming in between must not leave a gap.
    let view = connection.transaction()?;
    let mut older = view.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM by_room CROSS JOIN messages USING (key) WHERE by_room.room = ?1 AND key < ?2 ORDER BY key DESC",
    ))?;
    page.fill(older.query_map((room, before), |row| shown(&view, row, overlay))?)
}

/// Fills a page with a room's messages after the entry `after` and before the key `before`, oldest first.
pub(super) fn newer(
    connection: &mut Connection,
    room: &RoomName,
    range: (MessageId, i64),
    overlay: &Overlay,
    page: &mut Page<Message>,
) -> rusqlite::Result<()> {
    let Some(room) = known_room(connection, room)? else { return Ok(()) };
    let view = connection.transaction()?;
    messages_between(&view, room, range, overlay, page)
}

/// Fills pages with a room's messages and changes after the entry `after` and before the key `before`, oldest first.
/// Returns whether all of them are kept, and `after` was an entry.
pub(super) fn between(
    connection: &mut Connection,
    room: &RoomName,
    range: (MessageId, i64),
    overlay: &Overlay,
    (messages, changes): (&mut Page<Message>, &mut Page<Change>),
) -> rusqlite::Result<bool> {
    let Some(room) = known_room(connection, room)? else { return Ok(false) };
    // One view of the tables: trimming in between must not go unnoticed.
    let view = connection.transaction()?;
    let (after, before) = range;
    let is_whole = is_whole_after(&view, room, after)?;
    messages_between(&view, room, range, overlay, messages)?;
    change::read(&view, room, (ids::key(after), before), overlay, changes)?;
    Ok(is_whole)
}

fn messages_between(
    view: &Connection,
    room: i64,
    (after, before): (MessageId, i64),
    overlay: &Overlay,
    page: &mut Page<Message>,
) -> rusqlite::Result<()> {
    let mut newer = view.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM by_room CROSS JOIN messages USING (key)
         WHERE by_room.room = ?1 AND key > ?2 AND key < ?3 ORDER BY key",
    ))?;
    page.fill(newer.query_map((room, ids::key(after), before), |row| shown(view, row, overlay))?)
}

/// The number of a room in the tables, if it has messages.
pub(in crate::store::sqlite) fn known_room(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| row.get(0))
        .optional()
}

/// Whether everything after `after` in a room is kept, and `after` was one of its entries.
fn is_whole_after(view: &Connection, room: i64, after: MessageId) -> rusqlite::Result<bool> {
    let key = ids::key(after);
    let (trimmed, changes_trimmed): (Option<[u8; 16]>, Option<i64>) = view
        .prepare_cached("SELECT trimmed, changes_trimmed FROM rooms WHERE id = ?1")?
        .query_row([room], |row| row.try_into())
        .optional()?
        .unwrap_or_default();
    if trimmed.is_some_and(|id| id == *after.0.as_bytes()) {
        return Ok(changes_trimmed.is_none_or(|changes| changes <= key));
    }
    let trimmed = trimmed.map(|id| ids::key(MessageId(Uuid::from_bytes(id))));
    if trimmed.max(changes_trimmed).is_some_and(|trimmed| trimmed > key) {
        return Ok(false);
    }
    let tail: Option<i64> = view
        .prepare_cached("SELECT tail FROM messages WHERE key = ?1 AND room = ?2")?
        .query_row((key, room), |row| row.get(0))
        .optional()?;
    match tail {
        Some(tail) => Ok(ids::join(key, tail) == after),
        None => change::is_kept(view, room, after),
    }
}
