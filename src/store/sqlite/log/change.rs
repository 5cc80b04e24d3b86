//! Changes of messages in the tables.

use super::{
    ids,
    page::Page,
    row::{self, columns},
    sizes::{CHANGE, size},
    state::State,
    tail::Overlay,
};
use crate::{
    entry::{Change, ChangeKind},
    message::{MessageId, RoomName},
    store::journal::{Changed, Outcome},
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

const EDITED: i64 = 0;
const DELETED: i64 = 1;
const REACTED: i64 = 2;
const UNREACTED: i64 = 3;

/// Makes an allowed change, under its id. If its message has been trimmed since, only the change itself is kept. Returns
/// by how many bytes that makes the room larger, roughly.
pub(in crate::store::sqlite) fn make(
    tx: &Transaction<'_>,
    room: i64,
    id: MessageId,
    change: &Changed,
) -> rusqlite::Result<i64> {
    let (key, of, of_tail) = (ids::key(id), ids::key(change.of), ids::tail(change.of));
    let before: Option<i64> = tx
        .prepare_cached(concat!(
            "SELECT ",
            size!(),
            " FROM messages WHERE key = ?1 AND room = ?2 AND tail = ?3 AND deleted IS NULL"
        ))?
        .query_row((of, room, of_tail), |row| row.get(0))
        .optional()?;
    let mut grown = 0;
    let (kind, emoji) = match &change.outcome {
        Outcome::Text(_) => (EDITED, None),
        Outcome::Nothing => (DELETED, None),
        Outcome::Reacted { emoji, on: true } => (REACTED, Some(emoji)),
        Outcome::Reacted { emoji, on: false } => (UNREACTED, Some(emoji)),
    };
    if let Some(before) = before {
        match &change.outcome {
            Outcome::Text(text) => {
                let after: i64 = tx
                    .prepare_cached(concat!(
                        "UPDATE messages SET text = ?2, edited = ?3 WHERE key = ?1 RETURNING ",
                        size!()
                    ))?
                    .query_row((of, text, id.0.as_bytes()), |row| row.get(0))?;
                grown = after - before;
            }
            Outcome::Nothing => grown = delete(tx, room, of)? - before,
            Outcome::Reacted { emoji, on: true } => {
                tx.prepare_cached("INSERT OR IGNORE INTO reactions (of, emoji, user, key) VALUES (?1, ?2, ?3, ?4)")?
                    .execute((of, emoji, &*change.by, key))?;
                tx.prepare_cached("UPDATE messages SET reacted = 1 WHERE key = ?1")?.execute([of])?;
            }
            Outcome::Reacted { emoji, on: false } => {
                tx.prepare_cached("DELETE FROM reactions WHERE of = ?1 AND emoji = ?2 AND user = ?3")?.execute((
                    of,
                    emoji,
                    &*change.by,
                ))?;
            }
        }
    }
    let added = tx
        .prepare_cached(
            "INSERT OR IGNORE INTO changes (key, room, tail, of, of_tail, by, kind, emoji)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((key, room, ids::tail(id), of, of_tail, &*change.by, kind, emoji))?;
    Ok(grown + CHANGE * added as i64)
}

/// Removes everything that a message says from its row. The row stays. Returns what it takes then.
fn delete(tx: &Transaction<'_>, room: i64, of: i64) -> rusqlite::Result<i64> {
    let after = tx
        .prepare_cached(concat!(
            "UPDATE messages SET text = '', extra = NULL, name = NULL, reply_to = NULL, edited = NULL, reacted = NULL,
             deleted = 1 WHERE key = ?1 RETURNING ",
            size!()
        ))?
        .query_row([of], |row| row.get(0))?;
    tx.prepare_cached("DELETE FROM reactions WHERE of = ?1")?.execute([of])?;
    tx.prepare_cached("DELETE FROM by_room WHERE room = ?1 AND key = ?2")?.execute((room, of))?;
    Ok(after)
}

/// A message as the tables have it, if it is there.
pub(super) fn state(view: &Connection, room: &RoomName, id: MessageId) -> rusqlite::Result<Option<State>> {
    let found = view
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM messages WHERE key = ?1 AND room = (SELECT id FROM rooms WHERE name = ?2) AND deleted IS NULL",
        ))?
        .query_row((ids::key(id), room.as_str()), |row| Ok((row::bare_message(row)?, row::reactions(view, row)?)))
        .optional()?;
    Ok(found.filter(|(message, _)| message.id == id).map(|(message, reactions)| State::new(message, reactions)))
}

/// Fills a page with a room's changes after the key `after` and before the key `before`, oldest first.
pub(in crate::store::sqlite) fn read(
    view: &Connection,
    room: i64,
    (after, before): (i64, i64),
    overlay: &Overlay,
    page: &mut Page<Change>,
) -> rusqlite::Result<()> {
    let mut found = view.prepare_cached(
        "SELECT changes.key, changes.tail, of, of_tail, by, kind, emoji, messages.text
         FROM changes LEFT JOIN messages ON kind = 0 AND messages.key = of AND deleted IS NULL
         WHERE changes.room = ?1 AND changes.key > ?2 AND changes.key < ?3 ORDER BY changes.key",
    )?;
    page.fill(found.query_map((room, after, before), |row| change(row, overlay).map(Some))?)
}

fn change(row: &Row<'_>, overlay: &Overlay) -> rusqlite::Result<Change> {
    let (kind, of): (i64, i64) = (row.get(5)?, row.get(2)?);
    Ok(Change {
        id: ids::join(row.get(0)?, row.get(1)?),
        of: ids::join(of, row.get(3)?),
        by: row.get_ref(4)?.as_str()?.into(),
        kind: match kind {
            EDITED => ChangeKind::Edited(match overlay.get(of) {
                Some(now) => now.as_ref().map(|state| state.text().into()),
                None => row.get_ref(7)?.as_str_or_null()?.map(Into::into),
            }),
            DELETED => ChangeKind::Deleted,
            other => ChangeKind::Reacted { emoji: row.get_ref(6)?.as_str()?.into(), on: other == REACTED },
        },
    })
}

/// Whether the room has a change with this id.
pub(in crate::store::sqlite) fn is_kept(view: &Connection, room: i64, id: MessageId) -> rusqlite::Result<bool> {
    let tail: Option<i64> = view
        .prepare_cached("SELECT tail FROM changes WHERE key = ?1 AND room = ?2")?
        .query_row((ids::key(id), room), |row| row.get(0))
        .optional()?;
    Ok(tail.is_some_and(|tail| ids::join(ids::key(id), tail) == id))
}

/// Deletes up to `step` of a room's changes up to the key `through`, with the rows of messages that they deleted.
/// Returns the key of the last, and how many bytes they took, roughly; `None` if there were none.
pub(super) fn trim(tx: &Transaction<'_>, room: i64, through: i64, step: i64) -> rusqlite::Result<Option<(i64, i64)>> {
    let last: Option<i64> = tx
        .prepare_cached(
            "SELECT max(key) FROM
             (SELECT key FROM changes WHERE room = ?1 AND key <= ?2 ORDER BY key LIMIT ?3)",
        )?
        .query_row((room, through, step), |row| row.get(0))?;
    let Some(last) = last else { return Ok(None) };
    let rows: i64 = tx
        .prepare_cached(concat!(
            "DELETE FROM messages WHERE deleted = 1
             AND key IN (SELECT of FROM changes WHERE room = ?1 AND key <= ?2 AND kind = 1) RETURNING ",
            size!()
        ))?
        .query_map((room, last), |row| row.get::<_, i64>(0))?
        .sum::<rusqlite::Result<i64>>()?;
    let changes = tx.prepare_cached("DELETE FROM changes WHERE room = ?1 AND key <= ?2")?.execute((room, last))?;
    Ok(Some((last, rows + CHANGE * changes as i64)))
}
